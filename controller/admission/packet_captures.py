"""PacketCapture: whoever has packets sent to a file server must be allowed to read the Secret used for it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Final

from apis.gojson import Named, marshal, unmarshal
from apiserver.admission import ALLOWED, AdmissionRequest, Verdict
from controller.admission.objects import V1Alpha1
from controller.admission.secret_access import Purpose, SecretAccess

SECRET: Final = "antrea-packetcapture-fileserver-auth"  # in the namespace of antrea-controller
PURPOSE: Final = Purpose("file server authentication Secret", "used to authenticate to the file server")


class PacketCaptureFileServer(V1Alpha1):
    url: str | None = None
    host_public_key: Annotated[str | None, Named("[]uint8")] = None


class PacketCaptureSpec(V1Alpha1):
    file_server: PacketCaptureFileServer | None = None


class PacketCapture(V1Alpha1):
    spec: PacketCaptureSpec | None = None

    @property
    def file_server(self) -> PacketCaptureFileServer | None:
        return self.spec.file_server if self.spec else None


class PacketCaptureRules:
    def __init__(self, access: SecretAccess, namespace: str) -> None:
        self._access = access
        self._namespace = namespace

    def __call__(self, request: AdmissionRequest) -> Verdict | Awaitable[Verdict]:
        if request.operation not in ("CREATE", "UPDATE"):
            return ALLOWED
        new = (unmarshal(request.object, PacketCapture) if request.object else PacketCapture()).file_server
        old = (unmarshal(request.old, PacketCapture) if request.old else PacketCapture()).file_server
        unchanged = request.operation == "UPDATE" and marshal(new) == marshal(old)
        if new is None or unchanged:
            return ALLOWED
        return self._access.verdict(request.user, self._namespace, SECRET, PURPOSE)
