"""Archives in the Open Container Initiative's image layout (image-spec v1.1), which `ctr images import`,
`podman load`, `skopeo` and `docker load` read. Equal input gives equal bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
Members = Iterable[tuple[tarfile.TarInfo, bytes | None]]


@dataclass
class Layer:
    """A tar of files, compressed, with the two digests that an image names it by."""

    blob: bytes
    diff_id: str
    about: str

    @classmethod
    def of(cls, members: Members, about: str, time: int) -> Layer:
        """``time`` (seconds since 1970) becomes the time of every file."""
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for info, content in members:
                info.mtime, info.pax_headers = time, {}
                tar.addfile(info, io.BytesIO(content) if content is not None else None)
        packed = gzip.compress(plain.getvalue(), compresslevel=6, mtime=0)
        return cls(packed, _digest(plain.getvalue()), about)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


@dataclass
class Image:
    """An image of one architecture under one name, written as a tar."""

    name: str  # repository:tag
    architecture: str
    time: int
    layers: list[Layer]
    config: dict[str, Any] = field(default_factory=dict)  # Env, Cmd, Labels, WorkingDir

    def write(self, path: str) -> None:
        """Raises OSError."""
        blobs: dict[str, bytes] = {layer_digest(layer): layer.blob for layer in self.layers}

        def add(data: bytes, media: str) -> dict[str, Any]:
            digest = _digest(data)
            blobs[digest] = data
            return {"mediaType": media, "digest": digest, "size": len(data)}

        created = datetime.fromtimestamp(self.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        config = add(
            _json(
                {
                    "created": created,
                    "architecture": self.architecture,
                    "os": "linux",
                    "config": self.config,
                    "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
                    "history": [{"created": created, "created_by": layer.about} for layer in self.layers],
                }
            ),
            CONFIG,
        )
        layers = [
            {"mediaType": LAYER, "digest": layer_digest(layer), "size": len(layer.blob)}
            for layer in self.layers
        ]
        manifest = add(
            _json({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}), MANIFEST
        )
        names = {
            "org.opencontainers.image.ref.name": self.name.rpartition(":")[2],
            "io.containerd.image.name": self.name if "/" in self.name else f"docker.io/library/{self.name}",
        }
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{**manifest, "annotations": names}]}
        places = {f"blobs/{digest.replace(':', '/')}": data for digest, data in blobs.items()}
        places["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
        places["index.json"] = _json(index)
        # What `docker load` of older releases looks for.
        blob = "blobs/" + config["digest"].replace(":", "/")
        files = ["blobs/" + layer_digest(layer).replace(":", "/") for layer in self.layers]
        places["manifest.json"] = _json([{"Config": blob, "RepoTags": [self.name], "Layers": files}])
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            for name, data in sorted(places.items()):
                info = tarfile.TarInfo(name)
                info.size, info.mtime, info.mode = len(data), self.time, 0o644
                tar.addfile(info, io.BytesIO(data))


def layer_digest(layer: Layer) -> str:
    return _digest(layer.blob)
