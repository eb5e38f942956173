"""Regenerates what comes from this folder: protobuf modules, OpenAPI schemas, CustomResourceDefinitions.

    python -m openapi.generate          writes apis/**/*_pb2.py(i), apis/schemas.json and openapi/crds/*.yaml
    python -m openapi.generate --check  changes nothing; exit status 1 if a committed file is out of date

The generated files are committed, so that running the project needs no protoc. A .proto file lies here at
the path at which its module lies in the project: openapi/apis/meta/v1.proto gives apis/meta/v1_pb2.py. The
CustomResourceDefinitions come from openapi/definitions.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from openapi import schemas
from openapi.definitions import manifests

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "openapi"
SCHEMAS = Path("apis", "schemas.json")
CRDS = Path("openapi", "crds")
NO_MODULE = ("apis/system/",)  # upstream has no protobuf form of that group


def compile_into(target: Path) -> list[Path]:
    """Runs protoc over every .proto file; returns the generated files, relative to ``target``."""
    try:
        from grpc_tools import protoc
    except ImportError:
        sys.exit("protoc is missing: install the development dependencies (pip install -e '.[dev]')")

    protos = sorted(str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.proto"))
    modules = [path for path in protos if not path.startswith(NO_MODULE)]
    described = target / "descriptors"
    for arguments in (
        [f"--python_out={target}", f"--pyi_out={target}", *modules],
        [f"--descriptor_set_out={described}", "--include_source_info", *protos],
    ):
        status = protoc.main(["protoc", f"-I{SOURCES}", *arguments])
        if status != 0:
            sys.exit(f"protoc ended with status {status}; its messages are above")
    (target / SCHEMAS).write_text(schemas.text(FileDescriptorSet.FromString(described.read_bytes())))
    return sorted([SCHEMAS, *(path.relative_to(target) for path in target.rglob("*_pb2.py*"))])


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        written = manifests.write(Path(scratch, CRDS))
        generated = compile_into(Path(scratch)) + [path.relative_to(scratch) for path in written]
        stale = [
            path
            for path in generated
            if not (ROOT / path).exists() or (ROOT / path).read_bytes() != (Path(scratch) / path).read_bytes()
        ]
        if "--check" in sys.argv[1:]:
            for path in stale:
                print(f"{path} is out of date: run python -m openapi.generate", file=sys.stderr)
            return 1 if stale else 0
        for path in stale:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_bytes((Path(scratch) / path).read_bytes())
            print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
