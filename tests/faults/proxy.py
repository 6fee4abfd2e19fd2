"""A TCP proxy on loopback that a test can cut, slow down, freeze or close: the network between a service and what it uses."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

from local.servers import free_port

CHUNK = 1 << 16


class Proxy:
    """Forwards connections on `port` to `target` (both of 127.0.0.1), in a thread of its own."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._delay = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="proxy")
        self._thread.start()
        self._server: asyncio.Server | None = None
        self._flows = self._run(self._make_gate())
        self.open()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def open(self) -> None:
        """Take connections."""
        if self._server is None:
            self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", self.port))

    def refuse(self) -> None:
        """Take no new connections, and cut those that stand; until open()."""
        if self._server is not None:
            self._loop.call_soon_threadsafe(self._server.close)
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Reset every connection that stands now."""
        self._run(self._cut())

    def lead_to(self, target: int) -> None:
        """Forward new connections to another port; those that stand stay where they are."""
        self._target = target

    def delay(self, seconds: float) -> None:
        """Hold every piece of data back for so long, in both directions; 0 ends it."""
        self._delay = seconds

    def freeze(self) -> None:
        """Forward nothing, but keep the connections: packets that vanish; until thaw()."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def thaw(self) -> None:
        self._loop.call_soon_threadsafe(self._flows.set)

    def close(self) -> None:
        """End the proxy and its thread."""
        if not self._thread.is_alive():
            return
        self.refuse()
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    @staticmethod
    async def _make_gate() -> asyncio.Event:
        gate = asyncio.Event()
        gate.set()
        return gate

    async def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    @staticmethod
    async def _end() -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        ways = [
            asyncio.ensure_future(self._pump(reader, far_writer)),
            asyncio.ensure_future(self._pump(far_reader, writer)),
        ]
        try:
            await asyncio.wait(ways)
        except asyncio.CancelledError:
            for way in ways:
                way.cancel()
        finally:
            self._writers -= pair
            for each in pair:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
