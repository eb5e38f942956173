"""The plugin binary: protocol against a real gRPC server, errors, installation, and bad answers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cni import plugin
from agent.cni import v1beta1_pb2 as pb
from agent.cni.server import SERVICE

CONFIG = {"cniVersion": "1.0.0", "name": "antrea", "type": "antrea", "ipam": {"type": "host-local"}}
ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "cid",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0",
    "CNI_PATH": "/opt/cni/bin",
}

Answer = Callable[[str, pb.CniCmdRequest], pb.CniCmdResponse]


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="aocn-") as path:  # short: a socket's path has at most 107 bytes
        yield Path(path)


@pytest.fixture
def binary(directory: Path) -> Path:
    return Path(plugin.install(str(directory / "bin"), str(directory / "cni.sock")))


@asynccontextmanager
async def serving(path: Path, answer: Answer, methods: tuple[str, ...] = ()) -> AsyncIterator[None]:
    def handler(method: str) -> Any:
        async def handle(request: pb.CniCmdRequest, context: Any) -> pb.CniCmdResponse:
            return answer(method, request)

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=pb.CniCmdRequest.FromString,
            response_serializer=pb.CniCmdResponse.SerializeToString,
        )

    server = grpc.aio.server()
    names = methods or ("CmdAdd", "CmdDel", "CmdCheck", "CmdStatus", "CmdGC")
    handlers = {name: handler(name) for name in names}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def execute(
    binary: Path, stdin: bytes | None = None, drop: tuple[str, ...] = (), **changes: str
) -> tuple[int, Any]:
    environment = {key: value for key, value in {**ENVIRONMENT, **changes}.items() if key not in drop}
    process = await asyncio.create_subprocess_exec(
        str(binary),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate(json.dumps(CONFIG).encode() if stdin is None else stdin)
    assert err == b""
    assert process.returncode is not None
    return process.returncode, json.loads(out) if out.strip() else None


async def test_what_the_server_sees_and_the_runtime_gets(binary: Path, directory: Path) -> None:
    seen = []

    def answer(method: str, request: pb.CniCmdRequest) -> pb.CniCmdResponse:
        seen.append((method, request))
        return pb.CniCmdResponse(cni_result=b'{"cniVersion": "1.0.0"}')

    async with serving(directory / "cni.sock", answer):
        assert await execute(binary) == (0, {"cniVersion": "1.0.0"})
    ((method, request),) = seen
    args = request.cni_args
    assert method == "CmdAdd"
    assert (args.container_id, args.netns, args.ifname) == ("cid", "/run/netns/x", "eth0")
    assert (args.args, args.path) == (ENVIRONMENT["CNI_ARGS"], "/opt/cni/bin")
    assert json.loads(args.network_configuration) == CONFIG


@pytest.mark.parametrize(
    ("command", "method"),
    [("ADD", "CmdAdd"), ("DEL", "CmdDel"), ("CHECK", "CmdCheck"), ("GC", "CmdGC"), ("STATUS", "CmdStatus")],
)
async def test_commands(binary: Path, directory: Path, command: str, method: str) -> None:
    seen = []

    def answer(name: str, request: pb.CniCmdRequest) -> pb.CniCmdResponse:
        seen.append(name)
        return pb.CniCmdResponse()

    async with serving(directory / "cni.sock", answer):
        assert await execute(binary, CNI_COMMAND=command) == (0, None)
    assert seen == [method]


async def test_large_messages_in_both_directions(binary: Path, directory: Path) -> None:
    config = {**CONFIG, "comment": "x" * 50_000}
    result = {"padding": "é" * 30_000}

    def answer(name: str, request: pb.CniCmdRequest) -> pb.CniCmdResponse:
        assert json.loads(request.cni_args.network_configuration) == config
        return pb.CniCmdResponse(cni_result=json.dumps(result, ensure_ascii=False).encode())

    async with serving(directory / "cni.sock", answer):
        assert await execute(binary, json.dumps(config).encode()) == (0, result)


async def test_an_error_of_the_agent_is_printed_as_the_specification_wants(
    binary: Path, directory: Path
) -> None:
    def answer(name: str, request: pb.CniCmdRequest) -> pb.CniCmdResponse:
        return pb.CniCmdResponse(error=pb.Error(code=pb.IPAM_FAILURE, message="No address é is free"))

    async with serving(directory / "cni.sock", answer):
        assert await execute(binary) == (
            1,
            {"cniVersion": "1.0.0", "code": 101, "msg": "No address é is free"},
        )


async def test_no_agent_means_try_again_later(binary: Path, directory: Path) -> None:
    status, error = await execute(binary)
    assert (status, error["code"]) == (1, 11)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(directory / "cni.sock"))  # nobody listens: an agent that was killed
    stale.close()
    status, error = await execute(binary)
    assert (status, error["code"]) == (1, 11)
    assert "please retry later" in error["msg"]


async def test_an_agent_that_lacks_the_method(binary: Path, directory: Path) -> None:
    async with serving(directory / "cni.sock", lambda *_: pb.CniCmdResponse(), methods=("CmdAdd",)):
        status, error = await execute(binary, CNI_COMMAND="STATUS")
    assert (status, error["code"], "without a message" in error["msg"]) == (1, 201, True)


async def test_a_handler_that_fails(binary: Path, directory: Path) -> None:
    def answer(name: str, request: pb.CniCmdRequest) -> pb.CniCmdResponse:
        raise RuntimeError("on purpose")

    async with serving(directory / "cni.sock", answer):
        status, error = await execute(binary)
    assert (status, error["code"]) == (1, 201)


@pytest.mark.parametrize(
    ("case", "stdin", "drop", "changes", "code", "text"),
    [
        ("no command", None, ("CNI_COMMAND",), {}, 4, "CNI_COMMAND is not set"),
        ("unknown command", None, (), {"CNI_COMMAND": "FROB"}, 4, "'FROB', which is no command"),
        ("no container", None, ("CNI_CONTAINERID",), {}, 4, "are missing: CNI_CONTAINERID"),
        ("nothing", None, ("CNI_NETNS", "CNI_IFNAME"), {}, 4, "are missing: CNI_NETNS, CNI_IFNAME"),
        ("no input", b"", (), {}, 6, "no network configuration"),
        ("endless input", b"{" * 70_000, (), {}, 6, "more than 60000 bytes"),
    ],
)
async def test_refused_without_the_agent(
    binary: Path,
    case: str,
    stdin: bytes | None,
    drop: tuple[str, ...],
    changes: dict[str, str],
    code: int,
    text: str,
) -> None:
    status, error = await execute(binary, stdin, drop, **changes)
    assert (status, error["code"], text in error["msg"]) == (1, code, True), error


@pytest.mark.parametrize("stdin", [b'{"cniVersion": "0.4.0"}', b"", b"nonsense", b"[]"])
async def test_version(binary: Path, stdin: bytes) -> None:
    status, answer = await execute(binary, stdin, CNI_COMMAND="VERSION")
    assert status == 0
    assert answer["cniVersion"] == ("0.4.0" if stdin.startswith(b"{") else "1.1.0")
    assert answer["supportedVersions"] == ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]


async def test_the_environment_names_another_socket(binary: Path, directory: Path) -> None:
    async with serving(directory / "other.sock", lambda *_: pb.CniCmdResponse()):
        assert await execute(binary, ANTREA_CNI_SOCKET=str(directory / "other.sock")) == (0, None)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_random_bytes_for_an_answer(data: bytes, after_frames: bool) -> None:
    """Whatever answers on the socket: a result or a Failure, never another exception, never a hang."""
    here, there = socket.socketpair()
    prefix = plugin.frame(4, 0, 0, b"") + plugin.frame(0, 0, 1, b"") if after_frames else b""
    there.sendall(prefix + data)
    there.shutdown(socket.SHUT_WR)
    try:
        plugin.decode_response(plugin._exchange(here, "CmdAdd", b"request"))
    except plugin.Failure as failure:
        assert failure.message or failure.code  # noqa: PT017
    except (BrokenPipeError, ConnectionResetError):
        pass  # ``call`` turns these into a Failure
    finally:
        here.close()
        there.close()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_random_responses_are_a_result_or_a_failure(data: bytes) -> None:
    try:
        assert isinstance(plugin.decode_response(data), bytes)
    except plugin.Failure:
        pass


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=300),
    st.text(max_size=30),
    st.binary(max_size=300),
    st.integers(0, 2**31 - 1),
    st.text(max_size=40),
)
def test_hand_made_protobuf_is_protobuf(text: str, name: str, config: bytes, code: int, message: str) -> None:
    environment = {b"CNI_CONTAINERID": text.encode(), b"CNI_IFNAME": name.encode()}
    request = pb.CniCmdRequest.FromString(plugin.encode_request(environment, config))
    args = request.cni_args
    assert (args.container_id, args.ifname, args.network_configuration) == (text, name, config)
    assert plugin.decode_response(pb.CniCmdResponse(cni_result=config).SerializeToString()) == config
    error = pb.CniCmdResponse(error=pb.Error(code=code, message=message))  # type: ignore[arg-type]
    with pytest.raises(plugin.Failure) as caught:
        plugin.decode_response(error.SerializeToString())
    assert (caught.value.code, caught.value.message) == (code, message)


def test_installed_file(directory: Path) -> None:
    path = Path(plugin.install(str(directory / "deep" / "bin"), "/run/x'y.sock", "antrea"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert [entry.name for entry in path.parent.iterdir()] == ["antrea"]
    text = path.read_text()
    assert text.startswith("#!/") and text.split("\n")[0].endswith(" -IS")  # noqa: PT018
    again = subprocess.run(
        [path, "install", str(directory / "copy"), "--socket", "/other.sock", "--name", "x"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout == f"{directory / 'copy' / 'x'}\n"
    assert "SOCKET = '/other.sock'\n" in (directory / "copy" / "x").read_text()


def test_it_imports_nothing_that_takes_time(binary: Path) -> None:
    """Start-up is all of the plugin's cost: neither site nor any module beyond the interpreter's own."""
    probe = (
        f"import sys; code = compile(open({str(binary)!r}).read(), 'antrea', 'exec'); "
        "before = set(sys.modules); exec(code, {'__name__': 'probe'}); "
        "print(sorted(set(sys.modules) - before))"
    )
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", probe], capture_output=True, text=True, check=True
    )
    assert set(eval(out.stdout)) <= {"_socket", "posix"}


def test_the_script_of_the_environment_is_this_plugin() -> None:
    """``pip install`` puts antrea-cni beside the interpreter; there it finds the interpreter by itself."""
    script = Path(sys.executable).parent / "antrea-cni"
    if not script.exists():
        pytest.skip(
            "antrea-py is not installed in this environment: `pip install -e .` puts antrea-cni there"
        )
    environment = {"CNI_COMMAND": "VERSION", "PATH": os.environ["PATH"]}
    out = subprocess.run([script], input="{}", capture_output=True, text=True, env=environment, check=True)
    assert json.loads(out.stdout)["supportedVersions"] == list(plugin.SUPPORTED)
