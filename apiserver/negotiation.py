"""Which form an answer takes: JSON, YAML or protobuf; the object itself, a Table or only metadata."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from apiserver.errors import StatusError, not_acceptable

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
ALL = (JSON, YAML, PROTOBUF)
_STREAMS = (JSON + ";stream=watch", PROTOBUF + ";stream=watch")
_TRANSFORMS = {
    "Table": "Table",
    "PartialObjectMetadata": "PartialObjectMetadata",
    "PartialObjectMetadataList": "PartialObjectMetadata",
}


@dataclass(frozen=True, slots=True)
class Form:
    """The negotiated form. ``transform`` is empty, "Table" or "PartialObjectMetadata"."""

    media: str = JSON
    transform: str = ""
    transform_version: str = "v1"
    pretty: bool = False


@dataclass(frozen=True, slots=True)
class _Clause:
    type: str
    parameters: dict[str, str]
    quality: float


def parse_accept(header: str) -> list[_Clause]:
    """The clauses of an Accept header, best first; clauses of equal quality keep their order."""
    clauses: list[_Clause] = []
    for part in header.split(",")[:64]:
        pieces = [piece.strip() for piece in part.split(";")]
        if not pieces[0]:
            continue
        parameters = dict(piece.split("=", 1) for piece in pieces[1:] if "=" in piece)
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 1.0
        clauses.append(_Clause(pieces[0].lower(), parameters, quality))
    return sorted(clauses, key=lambda clause: -clause.quality)


def _served_type(clause: _Clause, served: Collection[str]) -> str:
    if clause.type in served:
        return clause.type
    if clause.type in ("*/*", "application/*"):
        return JSON if JSON in served else next(iter(served))
    return ""


def negotiate(
    header: str,
    *,
    served: Collection[str] = ALL,
    watch: bool = False,
    table: bool = True,
    pretty: bool = False,
) -> Form:
    """The form for an Accept header.

    ``served`` are the media types in which the resource can be written; a type that the server knows but the
    resource does not have is passed over for the next clause. Raises NotAcceptable.
    """
    if not header.strip():
        return Form(pretty=pretty)
    known = False
    for clause in parse_accept(header):
        known = known or bool(_served_type(clause, ALL))
        media = _served_type(clause, served)
        wanted = clause.parameters.get("as", "")
        if (
            not media
            and wanted in ("PartialObjectMetadata", "PartialObjectMetadataList")
            and clause.type == PROTOBUF
        ):
            media = PROTOBUF  # metadata has a protobuf form whatever the resource has
        if not media or (watch and media == YAML):
            continue
        stream = clause.parameters.get("stream")
        if stream is not None and not (watch and stream == "watch"):
            continue
        if not wanted:
            return Form(media, pretty=pretty)
        transform = _TRANSFORMS.get(wanted)
        version = clause.parameters.get("v", "v1")
        group = clause.parameters.get("g", "meta.k8s.io")
        if transform is None or version not in ("v1", "v1beta1") or group != "meta.k8s.io":
            continue
        if transform == "Table" and (media == PROTOBUF or not table):
            continue
        return Form(media, transform, version, pretty)
    if not known:
        raise StatusError(
            406,
            "NotAcceptable",
            "406: Not Acceptable\n\nAvailable representations: " + ", ".join((*ALL, *_STREAMS)),
            {},
        )
    raise not_acceptable(_STREAMS if watch else ALL)


def error_form(header: str, pretty: bool = False) -> Form:
    """The form in which to say that something failed: never a transform, JSON when in doubt."""
    for clause in parse_accept(header):
        if clause.type in ALL and not (clause.type == PROTOBUF and clause.parameters.get("as") == "Table"):
            return Form(clause.type, pretty=pretty)
    return Form(pretty=pretty)
