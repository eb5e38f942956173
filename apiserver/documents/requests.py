"""What a request says besides the object: options and names on the URL; and how its body is read."""

from __future__ import annotations

from apiserver import errors
from apiserver.body import read_delete_options
from apiserver.documents.kind import Kind
from apiserver.documents.schema import DecodeError
from apiserver.request import Context
from apiserver.resources import Object

_OPTIONS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
_POLICIES = ("Background", "Foreground", "Orphan", "nil")


def options_of(ctx: Context) -> Object:
    """CreateOptions, UpdateOptions or PatchOptions, as the query says them."""
    options: Object = {"kind": _OPTIONS.get(ctx.info.verb, "DeleteOptions"), "apiVersion": "meta.k8s.io/v1"}
    for key in ("fieldManager", "fieldValidation"):
        if ctx.query.get(key):
            options[key] = ctx.query[key]
    if ctx.dry_run:
        options["dryRun"] = ["All"]
    if "force" in ctx.query:
        options["force"] = ctx.query["force"] in ("true", "1")
    return options


def decode_body(ctx: Context, kind: Kind, document: Object) -> Object:
    """The body as the kind keeps it, with metadata and its resourceVersion, if it has one.

    What becomes of unknown fields is the client's wish (?fieldValidation). Raises BadRequest.
    """
    version = str((document.get("metadata") or {}).get("resourceVersion") or "")
    misfit = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}'
    try:
        obj, unknown = kind.decode(document)
    except DecodeError as error:
        raise errors.bad_request(f"{misfit}: {error}") from None
    except RecursionError:
        raise errors.bad_request("the object is nested too deeply") from None
    metadata = obj.setdefault("metadata", {})
    if version:
        metadata["resourceVersion"] = version
    wish = ctx.query.get("fieldValidation", "")
    if unknown and wish != "Ignore":
        texts = [f'unknown field "{path}"' for path in unknown]
        if wish == "Strict":
            raise errors.bad_request(f"{misfit}: strict decoding error: {', '.join(texts)}")
        ctx.warnings += texts
    return obj


def check_identity(kind: Kind, document: Object, namespace: str, name: str) -> None:
    """Raises BadRequest when the document is about another object than the URL."""
    metadata = document.get("metadata")
    if metadata is None:
        metadata = document["metadata"] = {}
    if not isinstance(metadata, dict):
        raise errors.bad_request("metadata must be an object")
    given = metadata.get("name") or name
    if given != name:
        raise errors.bad_request(
            f"the name of the object ({given}) does not match the name on the URL ({name})"
        )
    where = metadata.get("namespace") or namespace
    if kind.namespaced and where != namespace:
        raise errors.bad_request(
            f"the namespace of the object ({where}) does not match the namespace on the URL ({namespace})"
        )


def check_apply_body(kind: Kind, document: object) -> Object:
    """The configuration of a server-side apply. Raises BadRequest when it is of another kind."""
    if not isinstance(document, dict):
        raise errors.bad_request("the object provided is unrecognized (must be an object)")
    for field, wanted in (("apiVersion", kind.api_version), ("kind", kind.kind)):
        given = document.get(field)
        if not given:
            raise errors.bad_request(f"Object '{field.capitalize()}' is missing in the applied configuration")
        if given != wanted:
            raise errors.bad_request(
                f"the {field} of the applied configuration ({given}) is not that of the URL ({wanted})"
            )
    return document


async def read_deletion(ctx: Context) -> Object:
    """The DeleteOptions of a request. Raises BadRequest or Invalid."""
    options = await read_delete_options(ctx)
    policy = options.get("propagationPolicy")
    wrong: errors.FieldError | None = None
    if policy is not None and policy not in ("Foreground", "Background", "Orphan"):
        wrong = errors.not_supported("propagationPolicy", policy, _POLICIES)
    elif policy is not None and options.get("orphanDependents") is not None:
        words = "orphanDependents and deletionPropagation cannot be both set"
        wrong = errors.invalid_value("propagationPolicy", policy, words)
    if wrong is not None:
        raise errors.invalid("DeleteOptions", "", "", [wrong])
    return options


def deleted_status(kind: Kind, name: str, uid: str) -> Object:
    """What DELETE answers with once the object is gone."""
    details: Object = {"name": name}
    if kind.group:
        details["group"] = kind.group
    details.update(kind=kind.plural, uid=uid)
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
