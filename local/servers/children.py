"""Programs that we start on this machine, and that never outlive us.

A child runs in its own session (a Ctrl-C in the terminal reaches only us, so that we can stop it in order), writes its
output to a file, is ended at our exit, and on Linux dies with us however we die.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from sandbox.private import OTHERS, open_private, private_folder

LAUNCHER = Path(__file__).with_name("launch.py")
ON_LINUX = sys.platform == "linux"

# Below the range from which the kernel takes ports for outgoing connections (32768 and up on Linux), so that no
# client's connection can sit on a port between the moment it was found free and the moment a server asks for it.
PORTS = range(18000, 32000)
BLOCK = 100

_drawn: list[int] = []

_started: weakref.WeakSet[Child] = weakref.WeakSet()


class StartError(RuntimeError):
    """A program did not start, or was not ready in time. The message holds the end of its log."""


class ServerMissing(RuntimeError):
    """A server's programs are not installed on this machine; the message says which package has them."""


class Owner(NamedTuple):
    """The user and group that a child runs as."""

    uid: int
    gid: int


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that is given neither to another caller nor to another process of
    ours between now and the moment when a server listens there. Raises StartError."""
    while True:
        if not _drawn:
            _drawn.extend(_claim_block())
        port = _drawn.pop()
        if is_free(port):
            return port


def _claim_block() -> list[int]:
    """Ports that from now on are this process's alone to give away, shuffled.

    What marks them is a socket's name in Linux's abstract namespace: it ends with the process. Elsewhere chance has to do.
    """
    blocks = [PORTS[start : start + BLOCK] for start in range(0, len(PORTS), BLOCK)]
    random.shuffle(blocks)
    for block in blocks:
        if ON_LINUX:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
                try:
                    claim.bind(f"\0portico-ports-{block.start}")
                except OSError:  # another process's
                    continue
                claim.detach()  # open until this process ends
        return random.sample(block, len(block))
    raise StartError("no free port found on 127.0.0.1")


def own_folder(kind: str, root: Path | None = None) -> Path:
    """A new temporary folder for servers' data, named after this process, in `root` instead of where temporary folders are.

    Folders that a killed run left behind are removed first: their process is gone, so nobody uses them.
    """
    root = root or Path(tempfile.gettempdir())
    for left in root.glob("portico-*"):
        named = re.fullmatch(r"portico-[a-z]+-(\d+)-\w+", left.name)
        if named and not Path("/proc", named[1]).exists() and ON_LINUX:
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"portico-{kind}-{os.getpid()}-", dir=root))


def kept_secret(file: Path) -> str:
    """The secret kept in `file`, made at the first call: a server restarted on its data keeps its password."""
    if not file.exists():
        with open_private(file, "w") as stream:
            stream.write(secrets.token_hex(16))
    return file.read_text()


class Child:
    """One program, started with an explicit environment and its output in `log` (appended)."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        log: Path,
        cwd: Path | None = None,
        owner: Owner | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.log = log
        private_folder(log.parent)
        uid, gid = (str(owner.uid), str(owner.gid)) if owner else ("-", "-")
        self._launch = [
            sys.executable,
            "-I",
            "-S",
            LAUNCHER,
            os.getpid(),
            int(death_signal),
            uid,
            gid,
        ]
        with open_private(log, "ab") as out:
            self._process = self._begin([str(word) for word in argv], env, cwd, out)
        _started.add(self)

    def _begin(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, out: IO[Any]
    ) -> subprocess.Popen[bytes]:
        """Start the process."""
        return subprocess.Popen(
            [*map(str, self._launch), *argv],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=OTHERS,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this one process, unless it has ended."""
        if self.running:
            self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 10.0) -> int:
        """Ask it to end, kill it after `within` seconds, and return its exit code."""
        self.send(number)
        return self.wait(within)

    def wait(self, within: float) -> int:
        """The exit code of a program that ends by itself; killed after `within` seconds."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL the process and what it started in its own session; return its exit code."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()

    def tail(self, lines: int = 25) -> str:
        """The last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def wait_until(self, ready: Callable[[], bool], *, name: str, within: float) -> None:
        """Poll `ready` until it is true.

        Raises StartError when the program ends first or `within` seconds have passed; the program is ended then.
        """
        deadline = time.monotonic() + within
        while not ready():
            if not self.running:
                raise StartError(
                    f"{name} ended with code {self.returncode} while starting:\n{self.tail()}"
                )
            if time.monotonic() > deadline:
                self.kill()
                raise StartError(f"{name} was not ready after {within:g} s:\n{self.tail()}")
            time.sleep(0.03)


@atexit.register
def _end_all() -> None:
    for child in list(_started):
        child.kill()
