"""Reaching antrea-controller itself from outside, for what does not go through the Kubernetes API.

The controller says in AntreaControllerInfo on which Node and port it is; its certificate's CA is in the
ConfigMap ``antrea-ca``. The caller's own credentials are sent along.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from antctl.errors import CommandError
from antctl.lookup import fetch, node_url
from antctl.session import Session

if TYPE_CHECKING:
    from client.endpoint import Endpoint

CONTROLLER_INFO = "/apis/crd.antrea.io/v1beta1/antreacontrollerinfos/antrea-controller"
PORT = 10349  # where the controller does not say


def direct(session: Session, insecure: bool = False) -> Endpoint:
    """The controller's own address, with the credentials of the kubeconfig. Raises CommandError."""
    try:
        return _direct(session, insecure)
    except CommandError as error:
        text = f"failed to create rest client: error when creating controller client config: {error}"
        raise CommandError(text) from error


def _direct(session: Session, insecure: bool) -> Endpoint:
    from client.endpoint import Endpoint, tls_context

    info = fetch(session, CONTROLLER_INFO, "error when getting AntreaControllerInfo")
    node = info.get("nodeRef", {}).get("name", "")
    namespace = info.get("podRef", {}).get("namespace", "") or "kube-system"
    if not node:
        raise CommandError("AntreaControllerInfo does not say on which Node antrea-controller runs")
    url = node_url(
        session, node, info.get("apiPort") or PORT, "error when searching the Node of the controller"
    )
    tls = tls_context(insecure=True)
    if not insecure:
        place = f"/api/v1/namespaces/{namespace}/configmaps/antrea-ca"
        ca = fetch(session, place, "error when getting cert").get("data", {}).get("ca.crt")
        if not ca:
            raise CommandError(
                f"error when getting cert: ConfigMap {namespace}/antrea-ca has no ca.crt; try --insecure"
            )
        try:
            tls = tls_context(ca_data=ca)
        except (ssl.SSLError, ValueError) as error:
            raise CommandError(f"error when getting cert: {error}; try --insecure") from error
    session.present_certificate(tls)
    own = session.endpoint()
    return Endpoint(url, tls, f"antrea.{namespace}.svc", own.headers, own.proxy)
