"""A Hub on the loopback: one process, one thread per connection, nothing written to disk."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import RLock, Thread
from urllib.parse import parse_qsl, urlsplit

from .faults import Fault, Faults
from .repositories import HubError, Repository, Storage
from .routes import Request, Response, answer


_CHUNK = 1 << 16


@dataclass(frozen=True)
class Call:
    """A request that was answered, or whose connection broke (status None)."""

    method: str
    path: str
    status: int | None


@dataclass
class LoopbackHub:
    """A running Hub.

    Args:
        endpoint: Its address, for `HF_ENDPOINT`.
        user: Name of the only user.
        token: The user's token.
        storage: What it stores.
        faults: Accidents to come.
        calls: What was asked so far.
    """

    endpoint: str
    user: str
    token: str
    storage: Storage
    faults: Faults = field(default_factory=Faults)
    calls: list[Call] = field(default_factory=list)
    lock: RLock = field(default_factory=RLock)

    def model(self, name: str) -> Repository:
        return self.storage.repositories["model", name]

    def dataset(self, name: str) -> Repository:
        return self.storage.repositories["dataset", name]

    def called(self, method: str, path: str) -> list[Call]:
        """Requests whose path holds `path`."""
        return [call for call in self.calls if call.method == method and path in call.path]


@contextmanager
def serve(user: str = "owner", token: str = "hf_right") -> Iterator[LoopbackHub]:
    """Runs a Hub with one user on a free port until the block ends."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.hub = LoopbackHub(f"http://127.0.0.1:{server.server_port}", user, token, Storage({token: user}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # clients keep their connections open
    block_on_close = False
    hub: LoopbackHub

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that end break their connections, which is no mistake of the server's."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        hub, address = self.server.hub, urlsplit(self.path)
        fault = hub.faults.take(self.command, address.path) or Fault(self.command, address.path)
        if fault.request_bytes is not None:
            self.rfile.read(fault.request_bytes)
            hub.calls.append(Call(self.command, address.path, None))
            return self._break()
        request = Request(
            self.command, address.path, dict(parse_qsl(address.query)), self.headers, self._read_body(), hub.endpoint
        )
        response = self._respond(request, fault)
        broken = fault.answer_bytes is not None
        hub.calls.append(Call(self.command, address.path, None if broken else response.status))
        self._send(response, fault.answer_bytes)
        if broken:
            self._break()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _respond(self, request: Request, fault: Fault) -> Response:
        if fault.status is not None:
            return Response.of_error(HubError(fault.status, "an accident of the test"))
        with self.server.hub.lock:
            return answer(self.server.hub.storage, request)

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, response: Response, only_bytes: int | None) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body[:only_bytes])

    def _break(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the tests read `LoopbackHub.calls`."""
