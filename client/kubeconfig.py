"""From a kubeconfig file, or from a Pod's service account, to an Endpoint.

The ways to authenticate that need no program and no other server are read here: token, tokenFile, client
certificate, user name and password. For exec plugins and auth providers kubernetes_asyncio's loader is used
(see client.kubernetes_asyncio_light).
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from pathlib import Path
from typing import Any

from client.endpoint import Endpoint, Headers, TokenFile, basic, bearer, no_headers, tls_context
from runtime.errors import ConfigurationError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


async def load(path: str | None = None, context: str | None = None, server: str | None = None) -> Endpoint:
    """The endpoint of a kubeconfig, or of the Pod's service account where no file is named.

    ``server`` replaces the server's URL (kubeAPIServerOverride, ``antctl -s``).
    Raises ConfigurationError.
    """
    if not path:
        return in_cluster(server)
    found = load_simple(path, context, server)
    if found is not None:
        return found
    from client import kubernetes_asyncio_light

    return await kubernetes_asyncio_light.load(path, context, server)


def load_simple(path: str, context: str | None = None, server: str | None = None) -> Endpoint | None:
    """``load`` without an event loop; None when the user authenticates by an exec plugin or auth provider."""
    document = _read(path)
    user = _user(document, context, path)
    if "exec" in user or "auth-provider" in user:
        return None
    return from_document(document, path, context, server)


def cluster_tls(path: str, context: str | None = None) -> ssl.SSLContext:
    """How the certificate of a kubeconfig's cluster is checked."""
    document = _read(path)
    cluster = _named(
        document, "clusters", _context(document, context, path).get("cluster", ""), "cluster", path
    )
    ca = _data(cluster, "certificate-authority", Path(path).resolve().parent, path)
    return _trust(ca, cluster, path)


def present_certificate(path: str, tls: ssl.SSLContext, context: str | None = None) -> None:
    """Load the client certificate of a kubeconfig's user, if it has one, into the context for another server
    than the kubeconfig's. Raises ConfigurationError."""
    user = _user(_read(path), context, path)
    base = Path(path).resolve().parent
    certificate, key = _data(user, "client-certificate", base, path), _data(user, "client-key", base, path)
    if certificate and key:
        _load_certificate(tls, certificate, key, path)


def _trust(ca: str | None, cluster: dict[str, Any], path: str) -> ssl.SSLContext:
    try:
        return tls_context(ca_data=ca, insecure=bool(cluster.get("insecure-skip-tls-verify")))
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(
            f"The certificate-authority of the kubeconfig {path} is no certificate: {error}."
        ) from error


def in_cluster(server: str | None = None, directory: Path = SERVICE_ACCOUNT) -> Endpoint:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not server:
        if not host or not port:
            raise ConfigurationError(
                "No kubeconfig is named, and this is no Pod (KUBERNETES_SERVICE_HOST and "
                "KUBERNETES_SERVICE_PORT are not set): name a kubeconfig."
            )
        server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    ca = directory / "ca.crt"
    if not ca.exists():
        raise ConfigurationError(f"The service account's CA {ca} is missing: mount the service account.")
    return Endpoint(_url(server), tls_context(ca_file=str(ca)), headers=TokenFile(directory / "token"))


def from_document(
    document: dict[str, Any], path: str, context: str | None = None, server: str | None = None
) -> Endpoint:
    """The endpoint of a kubeconfig's (current) context. ``path`` anchors relative file names."""
    chosen = _context(document, context, path)
    cluster = _named(document, "clusters", chosen.get("cluster", ""), "cluster", path)
    user = _user(document, context, path)
    base = Path(path).resolve().parent
    url = _url(server or cluster.get("server") or _missing(path, "the cluster's server"))
    tls = None
    if url.startswith("https://"):
        ca = _data(cluster, "certificate-authority", base, path)
        tls = _trust(ca, cluster, path)
        certificate, key = (
            _data(user, "client-certificate", base, path),
            _data(user, "client-key", base, path),
        )
        if certificate and key:
            _load_certificate(tls, certificate, key, path)
    return Endpoint(
        url,
        tls,
        server_name=cluster.get("tls-server-name") or None,
        headers=_headers(user, base),
        proxy=cluster.get("proxy-url") or None,
    )


def _headers(user: dict[str, Any], base: Path) -> Headers:
    if user.get("token"):
        return bearer(str(user["token"]))
    if user.get("tokenFile"):
        return TokenFile(base / str(user["tokenFile"]))
    if user.get("username"):
        return basic(str(user["username"]), str(user.get("password", "")))
    return no_headers


def token_file(path: str) -> TokenFile | None:
    """The tokenFile of the kubeconfig's current user, if that is how it authenticates."""
    user = _user(_read(path), None, path)
    if user.get("token") or not user.get("tokenFile"):
        return None
    return TokenFile(Path(path).resolve().parent / str(user["tokenFile"]))


def _read(path: str) -> dict[str, Any]:
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The kubeconfig {path} cannot be read: {error}.") from error
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = yaml.load(text, loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigurationError(f"The kubeconfig {path} is not valid YAML: {error}.") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"The kubeconfig {path} is not a mapping.")
    return document


def _context(document: dict[str, Any], name: str | None, path: str) -> dict[str, Any]:
    wanted = name or document.get("current-context")
    if not wanted:
        raise ConfigurationError(f"The kubeconfig {path} has no current-context: set one.")
    return _named(document, "contexts", wanted, "context", path)


def _user(document: dict[str, Any], context: str | None, path: str) -> dict[str, Any]:
    name = _context(document, context, path).get("user")
    return _named(document, "users", name, "user", path) if name else {}


def _named(document: dict[str, Any], plural: str, name: str, singular: str, path: str) -> dict[str, Any]:
    for entry in document.get(plural) or ():
        if isinstance(entry, dict) and entry.get("name") == name:
            value = entry.get(singular) or {}
            if isinstance(value, dict):
                return value
    raise ConfigurationError(f"The kubeconfig {path} has no {singular} named {name!r}: correct {plural}.")


def _missing(path: str, what: str) -> str:
    raise ConfigurationError(f"The kubeconfig {path} does not say {what}.")


def _url(server: str) -> str:
    return server if "://" in server else f"https://{server}"


def _data(entry: dict[str, Any], key: str, base: Path, path: str) -> str | None:
    """PEM text given inline in base64, or in a file."""
    try:
        if entry.get(f"{key}-data"):
            text = "".join(str(entry[f"{key}-data"]).split())
            return base64.b64decode(text, validate=True).decode("ascii")
        if entry.get(key):
            return (base / str(entry[key])).read_text(encoding="ascii")
    except (binascii.Error, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"The {key} of the kubeconfig {path} cannot be read: {error}.") from error
    return None


def _load_certificate(tls: Any, certificate: str, key: str, path: str) -> None:
    """OpenSSL takes client certificates from files only: one that vanishes at once."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # mode 0600
        file.write(certificate + "\n" + key)
        file.flush()
        try:
            tls.load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"The client certificate and key of the kubeconfig {path} do not load: {error}."
            ) from error
