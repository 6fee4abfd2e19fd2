"""Waiting for a client to say something, without a word to the kernel each time.

eventlet tells epoll of a socket before each wait and takes it out again after it: two system calls, and more work around them than
reading a small request is. Here it stays there. What comes while nobody waits for it (a second request, the client's end) takes it out
until somebody does, since epoll would tell of it again and again.
"""

from __future__ import annotations

from typing import Any

import eventlet
from eventlet import hubs


class Readable:
    """One socket's turn to be read. Call `forget` before the socket is closed."""

    __slots__ = ("_file", "_listener", "_waiting")

    def __init__(self, sock: Any) -> None:
        self._file: int = sock.fileno()
        self._listener: Any = None
        self._waiting: Any = None

    def wait(self) -> None:
        """Return when there is something to read, or the end. Others get their turn meanwhile. Raises OSError where the socket is
        closed behind its back."""
        hub = hubs.get_hub()
        if self._listener is None:
            self._listener = hub.add(hub.READ, self._file, self._on_ready, self._on_lost, None)
        self._waiting = eventlet.getcurrent()
        try:
            hub.switch()
        finally:
            self._waiting = None

    def forget(self) -> None:
        """Take it out of epoll."""
        listener, self._listener = self._listener, None
        if listener is not None:
            hubs.get_hub().remove(listener)

    def _on_ready(self, file: int) -> None:
        if self._waiting is None:
            self.forget()
        else:
            self._waiting.switch()

    def _on_lost(self, error: BaseException) -> None:
        self._listener = None
        if self._waiting is not None:
            self._waiting.throw(error)
