"""TLS handshakes that take whatever certificate a client shows; what it is worth is for authenticators.

Servers of Kubernetes ask for a client's certificate without verifying it in the handshake (Go's
RequestClientCert): one that is unknown, expired or meant for something else must not cost a client the
connection on which it also sends a token. Python's ssl module always verifies (CERT_OPTIONAL), so OpenSSL's
own callback is set on the context underneath: SSL_CTX_set_cert_verify_callback(3). Where the object's layout
is not one that is known to work, or OpenSSL is not linked dynamically, ``accept_any`` says so by returning
False, and the authorities have to be loaded into the context instead.
"""

from __future__ import annotations

import ctypes
import ssl
import sys

_KNOWN = (3, 11) <= sys.version_info < (3, 15) and sys.implementation.name == "cpython"

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


_accept = _Callback(lambda _store, _argument: 1)  # lives as long as any context that calls it


def accept_any(context: ssl.SSLContext) -> bool:
    """Make a server's context ask for client certificates and take any; False where that cannot be had."""
    if not _KNOWN:
        return False
    try:
        import _ssl

        library = ctypes.CDLL(_ssl.__file__)
        set_callback = library.SSL_CTX_set_cert_verify_callback
    except (ImportError, AttributeError, OSError):
        return False
    set_callback.argtypes = [ctypes.c_void_p, _Callback, ctypes.c_void_p]
    set_callback.restype = None
    # struct PySSLContext { PyObject_HEAD; SSL_CTX *ctx; … }
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value
    if not pointer:
        return False
    set_callback(pointer, _accept, None)
    context.verify_mode = ssl.CERT_OPTIONAL
    return True
