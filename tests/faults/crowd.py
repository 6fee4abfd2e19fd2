"""Many connections to one service at once, from this process."""

from __future__ import annotations

import resource
import selectors
import socket
import time

SPARE_FILES = 500


def allow_files(number: int) -> None:
    """Let this process hold so many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = number + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(needed, hard)))


class Crowd:
    """Connections that say nothing. Closed at the end of the `with` block."""

    def __init__(self, port: int, size: int) -> None:
        self._port, self._size = port, size
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Crowd:
        allow_files(self._size)
        with selectors.DefaultSelector() as selector:
            for number in range(self._size):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", self._port))
                self._sockets.append(one)
                selector.register(one, selectors.EVENT_WRITE)
                if number % 500 == 499 or number == self._size - 1:
                    self._settle(selector)
        return self

    def _settle(self, selector: selectors.BaseSelector) -> None:
        end = time.monotonic() + 10
        while selector.get_map() and time.monotonic() < end:
            for key, _ in selector.select(1):
                selector.unregister(key.fileobj)

    def held(self) -> int:
        """How many of them the server has not ended."""
        return sum(map(_is_open, self._sockets))

    def __exit__(self, *error: object) -> None:
        for one in self._sockets:
            one.close()


def _is_open(one: socket.socket) -> bool:
    try:
        return bool(one.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False
