"""system.antrea.io: the controller's own state, live, and support bundles."""

from __future__ import annotations

from aiohttp import web

from apiserver.endpoints import Answer, Endpoint, FunctionEndpoint, Functions
from apiserver.errors import bad_request, forbidden, not_found
from apiserver.render import HEADERS
from apiserver.request import Context
from apiserver.resources import Object
from controller.api import resources
from controller.api.bundles import SupportBundles
from controller.api.paths import FeatureGatesPath
from controller.info import NAME, ControllerInfo

BUNDLE = "controller"
GATES = "featuregates"


class ControllerInfoEndpoint(FunctionEndpoint):
    """Beside the object itself answers ``…/controllerinfos/antrea-controller/featuregates``, which is in no
    discovery document: antctl's way to the gates where the controller's own address cannot be reached."""

    def __init__(self, info: ControllerInfo, gates: FeatureGatesPath) -> None:
        super().__init__(resources.CONTROLLER_INFOS, _functions(info))
        self._gates = gates

    async def serve_subresource(self, ctx: Context) -> web.StreamResponse:
        if ctx.info.subresource != GATES or ctx.info.name != NAME or ctx.info.verb != "get":
            return await super().serve_subresource(ctx)
        return await self._gates.serve(ctx)


def endpoints(info: ControllerInfo, gates: FeatureGatesPath, bundles: SupportBundles) -> list[Endpoint]:
    return [ControllerInfoEndpoint(info, gates), _bundles(bundles)]


def _functions(info: ControllerInfo) -> Functions:
    kind = resources.CONTROLLER_INFOS

    def document() -> Object:
        return {"kind": kind.kind, "apiVersion": kind.api_version, **info.document()}

    async def get(ctx: Context, namespace: str, name: str) -> Answer:
        if name != NAME:
            raise not_found(kind, name)
        return document()

    async def listing(ctx: Context, namespace: str) -> list[Object]:
        return [document()]

    return Functions(get=get, list=listing)


def _bundles(bundles: SupportBundles) -> Endpoint:
    kind = resources.SUPPORT_BUNDLES

    def document() -> Object:
        return {"kind": kind.kind, "apiVersion": kind.api_version, **bundles.state()}

    async def get(ctx: Context, namespace: str, name: str) -> Answer:
        if name != BUNDLE:
            raise not_found(kind, name)
        return document()

    async def create(ctx: Context, namespace: str, body: Object) -> Answer:
        name = body["metadata"].get("name", "")
        if name != BUNDLE:
            raise forbidden(
                "controllerinfos", resources.SYSTEM, name, f'only resource name "{BUNDLE}" is allowed'
            )
        if not ctx.dry_run:
            try:
                await bundles.collect(body.get("since") or "")
            except ValueError as error:
                raise bad_request(str(error)) from error
        return document()

    async def delete(ctx: Context, namespace: str, name: str) -> Answer:
        if name != BUNDLE:
            raise not_found(kind, name)
        if not ctx.dry_run:
            await bundles.clear()
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 200}

    async def download(ctx: Context, namespace: str, name: str, body: Object | None) -> Answer:
        archive = bundles.archive
        if archive is None:
            raise not_found(kind, name)
        return web.FileResponse(archive, headers={**HEADERS, "Content-Type": "application/tar+gz"})

    endpoint = FunctionEndpoint(kind, Functions(get=get, create=create, delete=delete))
    endpoint.subresources["download"] = download
    return endpoint
