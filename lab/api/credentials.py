"""Kubeconfigs for the members of a lab: the administrator, kubelet stand-ins, agents, the controller.

A user with groups gets a client certificate of the lab's CA; a service account gets a token that the API's
own key signs, valid as long as the account lives. Both need only the state directory, not a running API:

    write_user(state_dir, server, path, "system:node:n1", ["system:nodes"])
    write_service_account(state_dir, server, path, "kube-system", "antrea-agent", uid)
"""

from __future__ import annotations

import base64
import datetime
import pathlib
from collections.abc import Sequence
from typing import Any

import yaml

from lab.api.access.tokens import TokenSigner
from lab.api.pki import ClusterKeys, write_private

LONG = 10 * 365 * 24 * 3600


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def kubeconfig(
    server: str, ca: bytes, user: str, credentials: dict[str, Any], name: str = "antrea-lab"
) -> bytes:
    """A kubeconfig with everything inside. ``server`` is the URL."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": _b64(ca)}}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def _keys(state_dir: pathlib.Path) -> ClusterKeys:
    return ClusterKeys.ensure(pathlib.Path(state_dir) / "pki")


def write_admin(state_dir: pathlib.Path, server: str, path: pathlib.Path, name: str = "antrea-lab") -> None:
    """The administrator's kubeconfig, 0600."""
    keys = _keys(state_dir)
    write_private(path, kubeconfig(server, keys.authority.pem, "admin", {"token": keys.admin_token}, name))


def write_user(
    state_dir: pathlib.Path, server: str, path: pathlib.Path, user: str, groups: Sequence[str] = ()
) -> None:
    """A kubeconfig with a client certificate for a user, such as system:node:NAME in system:nodes."""
    keys = _keys(state_dir)
    certificate, key = keys.authority.issue(user, groups, valid=datetime.timedelta(seconds=LONG))
    credentials = {"client-certificate-data": _b64(certificate), "client-key-data": _b64(key)}
    write_private(path, kubeconfig(server, keys.authority.pem, user, credentials))


def write_service_account(
    state_dir: pathlib.Path, server: str, path: pathlib.Path, namespace: str, name: str, uid: str
) -> None:
    """A kubeconfig with a token for a ServiceAccount that exists (``uid`` is that of the object)."""
    keys = _keys(state_dir)
    token = TokenSigner(keys.service_accounts).issue(namespace, name, uid, seconds=LONG)
    write_private(path, kubeconfig(server, keys.authority.pem, name, {"token": token}))
