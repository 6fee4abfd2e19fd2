"""What a client leaves behind goes with its connection: what waits for the garbage collector adds up while clients come quickly, and is
looked through all at once, with everybody else waiting."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys

import pytest

from local.python_process import REPOSITORY, python_environment
from shared.nameko_ext.http_server import UNREAD_BYTES, listen

PROGRAM = """
import shared.nameko_ext.green
import gc, json, sys
import eventlet
from eventlet.green import socket
from local.servers import free_port
from shared.nameko_ext import http_connections
from shared.nameko_ext.container import CorrelatedContainer
from shared.nameko_ext.web import http

http_connections.BODY_SECONDS = 1

class Answering:
    name = "answering"

    @http("GET", "/here")
    def here(self, request):
        return "here"

    @http("GET", "/broken")
    def broken(self, request):
        raise ValueError("broken")

    @http("POST", "/body", refuse=lambda request: None, body_limit=1 << 20)
    def body(self, request):
        return str(len(request.get_data()))

port = free_port()
container = CorrelatedContainer(
    Answering, {"WEB_SERVER_ADDRESS": f"127.0.0.1:{port}", "max_workers": 10, "settings": None}
)
container.start()
server = next(each for each in container.extensions if hasattr(each, "_connections"))

def ask(request, goes):
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(request)
    if not goes:
        client.recv(65536)
    client.close()
    while server._connections:
        eventlet.sleep(0.01)
    eventlet.sleep(0)

gc.collect()
gc.freeze()
found = {}
for name, (request, goes) in json.load(sys.stdin).items():
    for _ in range(2):  # the first one may be the first to use something that stays
        gc.collect()
        gc.disable()
        ask(request.encode(), goes)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(0)
        found[name] = sorted({type(each).__name__ for each in gc.garbage})
        gc.garbage.clear()
print("found", json.dumps(found))
"""
HOST = "Host: x\r\n"
BODY = f"POST /body HTTP/1.1\r\n{HOST}Content-Length: %d\r\n\r\n%s"
LAST = "Connection: close\r\n\r\n"
WAITS, GOES = False, True
CLIENTS = {
    "one who is answered": (f"GET /here HTTP/1.1\r\n{HOST}{LAST}", WAITS),
    "one who goes": (f"GET /here HTTP/1.1\r\n{HOST}\r\n", GOES),
    "a probe": (f"GET /healthz HTTP/1.1\r\n{HOST}{LAST}", WAITS),
    "one who meets a defect": (f"GET /broken HTTP/1.1\r\n{HOST}{LAST}", WAITS),
    "too many headers": (f"GET /here HTTP/1.1\r\n{HOST}" + "X: y\r\n" * 200, WAITS),
    "too long a header": (f"GET /here HTTP/1.1\r\n{HOST}X: {'y' * 100_000}", WAITS),
    "too long an address": (f"GET /{'y' * 20_000} HTTP/1.1\r\n", WAITS),
    "no host": ("GET /here HTTP/1.1\r\n\r\n", WAITS),
    "no HTTP": ("\0\r\n\r\n", WAITS),
    "half a head": ("GET /here HT", GOES),
    "a body": (BODY % (5, "hello"), GOES),
    "a body of many pieces": (BODY % (500_000, "x" * 500_000), GOES),
    "too large a body": (BODY % (5_000_000, ""), WAITS),
    "a body that stops": (BODY % (50_000, "x"), WAITS),
    "a body that ends early": (BODY % (50_000, "x"), GOES),
    "chunks that are none": (
        f"POST /body HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\nzz",
        WAITS,
    ),
    "another protocol": (f"GET /here HTTP/1.1\r\n{HOST}Upgrade: h2c\r\n{LAST}", WAITS),
}


@pytest.fixture(scope="module")
def left() -> dict[str, list[str]]:
    """Types of what only the garbage collector found after each client had gone."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(CLIENTS),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=python_environment(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = next(line for line in done.stdout.splitlines() if line.startswith("found "))
    found: dict[str, list[str]] = json.loads(told.removeprefix("found "))
    return found


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_leaves_nothing_for_the_garbage_collector(
    client: str, left: dict[str, list[str]]
) -> None:
    """However its connection ends."""
    assert left[client] == []


def test_the_system_keeps_no_more_of_a_client_the_more_it_sends() -> None:
    """Left to itself, the system makes room for ever more of what a quick client sends, and it is the pod's memory."""
    listener = listen(("127.0.0.1", 0))
    with listener.fd as door, socket.create_connection(door.getsockname()) as client:
        door.setblocking(True)
        server, _ = door.accept()
        client.setblocking(False)
        with server:
            for _ in range(3000):
                with contextlib.suppress(BlockingIOError):
                    client.send(b"x" * (1 << 20))
                server.recv(16 << 10)
            kept = server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert kept <= 2 * UNREAD_BYTES
