"""CNI errors as the agent answers them: a code of the protocol and a sentence."""

from __future__ import annotations

from agent.cni import v1beta1_pb2 as pb

INCOMPATIBLE_CNI_VERSION = pb.INCOMPATIBLE_CNI_VERSION
UNSUPPORTED_FIELD = pb.UNSUPPORTED_FIELD
INVALID_ENVIRONMENT_VARIABLES = pb.INVALID_ENVIRONMENT_VARIABLES
DECODING_FAILURE = pb.DECODING_FAILURE
INVALID_NETWORK_CONFIG = pb.INVALID_NETWORK_CONFIG
TRY_AGAIN_LATER = pb.TRY_AGAIN_LATER
IPAM_FAILURE = pb.IPAM_FAILURE
CONFIG_INTERFACE_FAILURE = pb.CONFIG_INTERFACE_FAILURE
CHECK_INTERFACE_FAILURE = pb.CHECK_INTERFACE_FAILURE


class CNIError(Exception):
    """Becomes the ``error`` of the response; ``code`` is one of this module's constants."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    def response(self) -> pb.CniCmdResponse:
        return pb.CniCmdResponse(error=pb.Error(code=self.code, message=str(self)))  # type: ignore[arg-type]
