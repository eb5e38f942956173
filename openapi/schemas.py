"""OpenAPI schemas of Antrea's API groups, made of the .proto files here: fields, types, descriptions.

``python -m openapi.generate`` writes them to apis/schemas.json. What the .proto files say in comments becomes
the descriptions: that above a message, and that beside or above a field. Lists and patches are left out: the
server writes the one itself, and the other only ever stand in watches.
"""

from __future__ import annotations

import json

from google.protobuf import descriptor_pb2 as pb

from apis.meta.builtin_schema import REF
from apis.schemas import Schema, definition_name

GROUPS = {
    "antrea_io.antrea.pkg.apis.controlplane.v1beta2": "controlplane.antrea.io/v1beta2",
    "antrea_io.antrea.pkg.apis.stats.v1alpha1": "stats.antrea.io/v1alpha1",
    "antrea_io.antrea.pkg.apis.system.v1beta1": "system.antrea.io/v1beta1",
}
_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
_SCALARS: dict[int, Schema] = {
    pb.FieldDescriptorProto.TYPE_STRING: {"type": "string"},
    pb.FieldDescriptorProto.TYPE_BYTES: {"type": "string", "format": "byte"},
    pb.FieldDescriptorProto.TYPE_BOOL: {"type": "boolean"},
    pb.FieldDescriptorProto.TYPE_INT32: {"type": "integer", "format": "int32"},
    pb.FieldDescriptorProto.TYPE_UINT32: {"type": "integer", "format": "int64"},
    pb.FieldDescriptorProto.TYPE_INT64: {"type": "integer", "format": "int64"},
    pb.FieldDescriptorProto.TYPE_DOUBLE: {"type": "number", "format": "double"},
}
_SPECIAL: dict[str, Schema] = {
    _META + "Time": {"type": "string", "format": "date-time"},
    "k8s.io.apimachinery.pkg.util.intstr.IntOrString": {
        "type": "string",
        "format": "int-or-string",
        "x-kubernetes-int-or-string": True,
    },
}


def _reference(full_name: str) -> Schema:
    if full_name in _SPECIAL:
        return dict(_SPECIAL[full_name])
    if full_name.startswith(_META):
        return {"$ref": f"{REF}io.k8s.{full_name.removeprefix('k8s.io.')}"}
    package, kind = full_name.rsplit(".", 1)
    return {"$ref": REF + definition_name(GROUPS[package], kind)}


def _field(field: pb.FieldDescriptorProto, comment: str) -> Schema:
    if field.type == field.TYPE_MESSAGE:
        made = _reference(field.type_name.lstrip("."))
    else:
        made = dict(_SCALARS[field.type])
    if field.label == field.LABEL_REPEATED:
        made = {"type": "array", "items": made}
    elif "$ref" in made:
        made = {"allOf": [made]}  # beside a bare reference a description would not count
    return {"description": comment, **made}


def _comment(locations: dict[tuple[int, ...], pb.SourceCodeInfo.Location], path: tuple[int, ...]) -> str:
    found = locations.get(path)
    text = (found.trailing_comments or found.leading_comments) if found else ""
    return " ".join(text.split())


def schemas(files: pb.FileDescriptorSet) -> dict[str, dict[str, Schema]]:
    """Group version → kind → schema. ``files`` carry their source information.

    Raises ValueError for a field without a description."""
    found: dict[str, dict[str, Schema]] = {}
    for file in files.file:
        api_version = GROUPS.get(file.package)
        if api_version is None:
            continue
        locations = {tuple(location.path): location for location in file.source_code_info.location}
        kinds = found.setdefault(api_version, {})
        for number, message in enumerate(file.message_type):
            if message.name.endswith(("List", "Patch")):
                continue
            properties = {}
            for index, field in enumerate(message.field):
                comment = _comment(locations, (4, number, 2, index))
                if not comment:
                    raise ValueError(f"{file.name}: {message.name}.{field.name} has no description")
                properties[field.name] = _field(field, comment)
            description = _comment(locations, (4, number))
            kinds[message.name] = {"description": description, "type": "object", "properties": properties}
    return found


def text(files: pb.FileDescriptorSet) -> str:
    """The file's content."""
    return json.dumps(schemas(files), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
