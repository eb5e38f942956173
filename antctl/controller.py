"""Reaching antrea-controller itself from outside, for what does not go through the Kubernetes API.

The controller says in AntreaControllerInfo on which Node and port it is; its certificate's CA is in the
ConfigMap ``antrea-ca``. The caller's own credentials are sent along.
"""

from __future__ import annotations

import ipaddress
import ssl
from typing import TYPE_CHECKING, Any

from antctl.errors import CommandError
from antctl.output import decode
from antctl.session import Session, status_message

if TYPE_CHECKING:
    from client.endpoint import Endpoint

CONTROLLER_INFO = "/apis/crd.antrea.io/v1beta1/antreacontrollerinfos/antrea-controller"


def direct(session: Session, insecure: bool = False) -> Endpoint:
    """The controller's own address, with the credentials of the kubeconfig. Raises CommandError."""
    try:
        return _direct(session, insecure)
    except CommandError as error:
        text = f"failed to create rest client: error when creating controller client config: {error}"
        raise CommandError(text) from error


def _direct(session: Session, insecure: bool) -> Endpoint:
    from client.endpoint import Endpoint, tls_context

    info = _object(session, CONTROLLER_INFO, "error when getting AntreaControllerInfo")
    node = info.get("nodeRef", {}).get("name", "")
    namespace = info.get("podRef", {}).get("namespace", "") or "kube-system"
    if not node:
        raise CommandError("AntreaControllerInfo does not say on which Node antrea-controller runs")
    problem = "error when searching the Node of the controller"
    address = node_address(_object(session, f"/api/v1/nodes/{node}", problem))
    tls = tls_context(insecure=True)
    if not insecure:
        place = f"/api/v1/namespaces/{namespace}/configmaps/antrea-ca"
        ca = _object(session, place, "error when getting cert").get("data", {}).get("ca.crt")
        if not ca:
            raise CommandError(
                f"error when getting cert: ConfigMap {namespace}/antrea-ca has no ca.crt; try --insecure"
            )
        try:
            tls = tls_context(ca_data=ca)
        except (ssl.SSLError, ValueError) as error:
            raise CommandError(f"error when getting cert: {error}; try --insecure") from error
    host = f"[{address}]" if ":" in address else address
    url = f"https://{host}:{info.get('apiPort') or 10349}"
    return Endpoint(url, tls, f"antrea.{namespace}.svc", session.endpoint().headers)


def _object(session: Session, path: str, problem: str) -> dict[str, Any]:
    answer = session.request(path)
    if answer.status >= 400:
        raise CommandError(f"{problem}: {status_message(answer)}")
    value = decode(answer.body)
    return value if isinstance(value, dict) else {}


def node_address(node: dict[str, Any]) -> str:
    """ExternalIP before InternalIP, IPv4 before IPv6. Raises CommandError."""
    found: list[tuple[bool, bool, str]] = []
    for entry in node.get("status", {}).get("addresses") or ():
        if entry.get("type") in ("ExternalIP", "InternalIP"):
            try:
                version = ipaddress.ip_address(entry.get("address", "")).version
            except ValueError:
                continue
            found.append((entry["type"] == "InternalIP", version == 6, entry["address"]))
    if not found:
        raise CommandError(f"Node {node.get('metadata', {}).get('name', '')} has no address")
    return min(found)[2]
