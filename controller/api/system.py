"""system.antrea.io: the controller's own state, live, and support bundles."""

from __future__ import annotations

from apiserver.endpoints import Answer, Endpoint, FunctionEndpoint, Functions
from apiserver.errors import StatusError, forbidden, not_found
from apiserver.request import Context
from apiserver.resources import Object
from controller.api import resources
from controller.info import NAME, ControllerInfo

BUNDLE = "controller"


def endpoints(info: ControllerInfo) -> list[Endpoint]:
    kind = resources.CONTROLLER_INFOS

    def document() -> Object:
        return {"kind": kind.kind, "apiVersion": kind.api_version, **info.document()}

    async def get(ctx: Context, namespace: str, name: str) -> Answer:
        if name != NAME:
            raise not_found(kind, name)
        return document()

    async def listing(ctx: Context, namespace: str) -> list[Object]:
        return [document()]

    return [FunctionEndpoint(kind, Functions(get=get, list=listing)), _bundles()]


def _bundles() -> Endpoint:
    """Nothing is ever collected yet: the state is None, and asking for a collection says so."""
    kind = resources.SUPPORT_BUNDLES

    async def get(ctx: Context, namespace: str, name: str) -> Answer:
        if name != BUNDLE:
            raise not_found(kind, name)
        return {
            "kind": kind.kind,
            "apiVersion": kind.api_version,
            "metadata": {"name": BUNDLE},
            "status": "None",
        }

    async def create(ctx: Context, namespace: str, body: Object) -> Answer:
        name = body["metadata"].get("name", "")
        if name != BUNDLE:
            raise forbidden(
                "controllerinfos", resources.SYSTEM, name, f'only resource name "{BUNDLE}" is allowed'
            )
        raise StatusError(501, "", "This version of antrea-py does not collect support bundles yet.")

    async def delete(ctx: Context, namespace: str, name: str) -> Answer:
        if name != BUNDLE:
            raise not_found(kind, name)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 200}

    async def download(ctx: Context, namespace: str, name: str, body: Object | None) -> Answer:
        raise not_found(kind, name)

    endpoint = FunctionEndpoint(kind, Functions(get=get, create=create, delete=delete))
    endpoint.subresources["download"] = download
    return endpoint
