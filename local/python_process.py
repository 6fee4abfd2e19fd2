"""One of Portico's own programs as a process."""

from __future__ import annotations

import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from local.servers import Child, StartError

REPOSITORY = Path(__file__).resolve().parents[1]

# A proxy of the caller's is no way to loopback.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def python_environment() -> dict[str, str]:
    """What any Python process of ours needs of the caller's environment, and no more."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


def answers(url: str) -> bool:
    """Whether a GET is answered with a success right now."""
    try:
        with _direct.open(url, timeout=2) as response:
            return bool(response.status < 300)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def fetch(url: str) -> str:
    """The body of a GET. Raises URLError."""
    with _direct.open(url, timeout=10) as answer:
        return str(answer.read().decode())


class Process:
    """`python -m MODULE …` that serves HTTP on `port`, with its output in a file.

    It counts as ready when `ready_path` is answered with a success. `code` is the folder that holds its code.
    """

    child: type[Child] = Child
    """How it is started."""

    def __init__(
        self,
        name: str,
        module: str,
        *,
        port: int,
        env: Mapping[str, str],
        log: Path,
        ready_path: str = "/readyz",
        code: Path = REPOSITORY,
    ) -> None:
        self.name = name
        self.port = port
        self.env = {**python_environment(), **env}
        self._module = module
        self._log = log
        self._ready_path = ready_path
        self._code = code
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Its HTTP address, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id. Raises StartError when it was not launched."""
        if self._child is None:
            raise StartError(f"{self.name} was not launched")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    @property
    def returncode(self) -> int | None:
        """Its exit code; None while it runs and before it was launched."""
        return self._child.returncode if self._child else None

    def launch(self) -> None:
        """Start it without waiting."""
        self._child = self._run()

    def wait(self, within: float = 30.0) -> None:
        """Wait until it is ready. Raises StartError with the end of its log."""
        self.wait_for(lambda: answers(self.url + self._ready_path), within)

    def wait_for(self, ready: Callable[[], bool], within: float) -> None:
        """Wait until `ready` is true of it. Raises StartError with the end of its log."""
        if self._child is None:
            raise StartError(f"{self.name} was not launched")
        self._child.wait_until(ready, name=self.name, within=within)

    def start(self, within: float = 30.0) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait(within)

    def command(self, *words: str) -> Child:
        """Run `python -m MODULE words…` with the same environment and log; does not wait."""
        return self._run(*words)

    def _run(self, *words: str) -> Child:
        return self.child(
            [sys.executable, "-m", self._module, *words],
            env=self.env,
            log=self._log,
            cwd=self._code,
        )

    def terminate(self, within: float = 40.0) -> int:
        """SIGTERM, as an orchestrator does; returns the exit code (killed after `within` seconds)."""
        return self._child.stop(within=within) if self._child else 0

    def ended(self, within: float = 40.0) -> int:
        """The exit code once it has ended by itself (killed after `within` seconds)."""
        return self._child.wait(within) if self._child else 0

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        if self._child:
            self._child.kill()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; SIGSTOP freezes it until SIGCONT."""
        if self._child:
            self._child.send(number)

    def log_text(self) -> str:
        """All it has written so far, over restarts too."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""
