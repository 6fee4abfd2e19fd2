"""Clients that keep their connections, ask again and again, and look closely at how each answer ends."""

from __future__ import annotations

import collections
import contextlib
import re
import socket
import threading

CLIENTS = 12
ANSWER_SECONDS = 30.0


class Cut(Exception):
    """A connection ended, or fell silent, in the middle of an answer."""


class Regulars:
    """Ask the same thing on kept-alive connections, from several threads, until the server is gone or the block ends.

    `outcomes` counts: each status, `503 without Retry-After`, `closed` (before any byte of an answer), `cut`.
    """

    def __init__(self, port: int, request: bytes) -> None:
        self.outcomes: collections.Counter[str] = collections.Counter()
        self._port, self._request = port, request
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._visit) for _ in range(CLIENTS)]

    def __enter__(self) -> Regulars:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def bad(self) -> dict[str, int]:
        """What no client should see."""
        return {
            outcome: count
            for outcome, count in self.outcomes.items()
            if outcome == "cut" or (outcome[0] == "5" and outcome != "503")
        }

    def _visit(self) -> None:
        with contextlib.suppress(ConnectionRefusedError):
            while not self._ended.is_set():
                with socket.create_connection(("127.0.0.1", self._port)) as connection:
                    connection.settimeout(ANSWER_SECONDS)
                    while not self._ended.is_set() and self._ask(connection):
                        pass

    def _ask(self, connection: socket.socket) -> bool:
        """One request; whether the connection may be used again."""
        received = b""
        try:
            connection.sendall(self._request)
            while not _is_whole(received):
                piece = connection.recv(1 << 16)
                if not piece:
                    raise Cut
                received += piece
        except (OSError, Cut):
            self.outcomes["cut" if received else "closed"] += 1
            return False
        status = received[9:12].decode()
        if status == "503" and b"\r\nRetry-After:" not in received:
            status = "503 without Retry-After"
        self.outcomes[status] += 1
        return b"\r\nConnection: close" not in received


def _is_whole(received: bytes) -> bool:
    """Whether the bytes are an answer with its whole body."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    length = re.search(rb"\r\nContent-Length: (\d+)", head)
    if length is None:
        raise Cut
    return len(body) >= int(length[1])
