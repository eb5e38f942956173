"""kubernetes_asyncio's configuration, authentication and REST layer, without its 700 generated models.

Importing ``kubernetes_asyncio`` the ordinary way runs a package initializer that loads every API class and
model: 72 MB and most of a second, for classes that this project never uses (it decodes raw bytes). The parts
wanted here (kubeconfig and in-cluster loading with exec plugins and auth providers, ``Configuration``,
``ApiClient``, ``RESTClientObject``) are ordinary modules below that initializer: while they are imported,
empty packages stand in for the three initializers, and go away right afterwards, so that a full import
elsewhere in the process still works. Costs 5 MB.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import ssl
import sys
import time
import types
import urllib.parse
import urllib.request
from typing import Any

import aiohttp

from client.endpoint import Endpoint, TokenFile
from runtime.errors import ConfigurationError

PACKAGES = ("kubernetes_asyncio", "kubernetes_asyncio.client", "kubernetes_asyncio.client.models")
RELOAD_SECONDS = 240.0  # exec plugins and auth providers: tokens live an hour, ask well before that


def modules() -> types.SimpleNamespace:
    """The library's modules: ``configuration``, ``rest``, ``api_client``, ``config``."""
    global _loaded
    if _loaded is None:
        _loaded = _import()
    return _loaded


_loaded: types.SimpleNamespace | None = None


def _import() -> types.SimpleNamespace:
    if PACKAGES[1] in sys.modules:  # somebody has paid for the whole library already
        return _collect()
    spec = importlib.util.find_spec(PACKAGES[0])
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "The library kubernetes_asyncio is not installed: install antrea-py's dependencies."
        )
    root = next(iter(spec.submodule_search_locations))
    stand_ins = {}
    for name in PACKAGES:
        stand_in = types.ModuleType(name)
        path = "/".join([root, *name.split(".")[1:]])
        stand_in.__path__ = [path]
        stand_in.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        stand_in.__spec__.submodule_search_locations = [path]
        stand_ins[name] = stand_in
    sys.modules.update(stand_ins)
    try:
        client = stand_ins[PACKAGES[1]]
        stand_ins[PACKAGES[0]].client = client  # type: ignore[attr-defined]
        client.models = stand_ins[PACKAGES[2]]  # type: ignore[attr-defined]
        configuration = importlib.import_module("kubernetes_asyncio.client.configuration")
        client.Configuration = configuration.Configuration  # type: ignore[attr-defined]
        client.rest = importlib.import_module("kubernetes_asyncio.client.rest")  # type: ignore[attr-defined]
        api_client = importlib.import_module("kubernetes_asyncio.client.api_client")
        client.ApiClient = api_client.ApiClient  # type: ignore[attr-defined]
        return _collect()
    finally:
        for name in PACKAGES:
            sys.modules.pop(name, None)


def _collect() -> types.SimpleNamespace:
    return types.SimpleNamespace(
        configuration=importlib.import_module("kubernetes_asyncio.client.configuration"),
        rest=importlib.import_module("kubernetes_asyncio.client.rest"),
        api_client=importlib.import_module("kubernetes_asyncio.client.api_client"),
        config=importlib.import_module("kubernetes_asyncio.config"),
    )


class _Credentials:
    """The headers that a Configuration yields; renews what the kubeconfig's plugins gave."""

    def __init__(self, configuration: Any, path: str | None, context: str | None) -> None:
        self._configuration = configuration
        self._path = path
        self._context = context
        self._loaded_at = time.monotonic()

    async def __call__(self) -> dict[str, str]:
        if self._path and time.monotonic() - self._loaded_at > RELOAD_SECONDS:
            self._loaded_at = time.monotonic()
            await _load(self._configuration, self._path, self._context)
        settings = await self._configuration.auth_settings()
        return {
            setting["key"].title(): setting["value"]
            for setting in settings.values()
            if setting["in"] == "header" and setting["value"]
        }


async def _load(configuration: Any, path: str | None, context: str | None) -> None:
    library = modules()
    try:
        if path:
            await library.config.load_kube_config(
                config_file=path,
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
        else:
            library.config.load_incluster_config(client_configuration=configuration)
    except (
        library.config.ConfigException,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        source = f"The kubeconfig {path}" if path else "The Pod's service account"
        raise ConfigurationError(f"{source} cannot be used: {error}") from error


async def load(path: str | None, context: str | None = None, server: str | None = None) -> Endpoint:
    """The endpoint of a kubeconfig, or of the Pod's service account; ``server`` replaces the URL.

    Sessions come from the library's own REST client. Raises ConfigurationError.
    """
    library = modules()
    configuration = library.configuration.Configuration()
    await _load(configuration, path, context)
    if server:
        configuration.host = server if "://" in server else f"https://{server}"

    def session() -> aiohttp.ClientSession:
        try:
            made: aiohttp.ClientSession = library.rest.RESTClientObject(configuration).pool_manager
        except (OSError, ssl.SSLError) as error:
            source = path or "the Pod's service account"
            raise ConfigurationError(f"The certificates of {source} cannot be used: {error}") from error
        # Else aiohttp reads ~/.netrc and the environment in a thread, anew for each request.
        made._trust_env = False
        return made

    configuration.connection_pool_maxsize = 0  # each watch holds a connection: no limit
    return Endpoint(
        configuration.host,
        server_name=configuration.tls_server_name,
        headers=_token_file(path) or _Credentials(configuration, path, context),
        proxy=configuration.proxy or _proxy_from_environment(configuration.host),
        session=session,
    )


def _proxy_from_environment(url: str) -> str | None:
    """What HTTPS_PROXY and NO_PROXY say; aiohttp speaks to proxies without TLS only."""
    parts = urllib.parse.urlsplit(url)
    if parts.hostname is None or urllib.request.proxy_bypass(parts.hostname):
        return None
    proxy = urllib.request.getproxies().get(parts.scheme)
    return proxy if proxy and proxy.startswith("http://") else None


def _token_file(path: str | None) -> TokenFile | None:
    """A kubeconfig's tokenFile is read again while the process runs; the library reads it once."""
    if not path:
        return None
    from client.kubeconfig import token_file

    return token_file(path)
