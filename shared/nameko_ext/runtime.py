"""Running services: our own runner, since nameko's needs an old setuptools and never gives up on SIGTERM."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import eventlet
from nameko.runners import ServiceRunner
from prometheus_client import disable_created_metrics
from sqlalchemy.exc import SQLAlchemyError

from shared import telemetry, tracing
from shared.database import DatabaseUnavailable
from shared.database_errors import is_away, reason_of
from shared.schema import Standing
from shared.service_settings import ServiceSettings
from shared.settings import Reader, SettingsError
from shared.tracing.settings import TracingSettings
from shared.version import VERSION

log = telemetry.get_logger(__name__)

GRACE_SECONDS: Final = 25
READY_SECONDS: Final = 1.0
"""How often a service that is not ready yet looks whether it is."""
START_SECONDS: Final = 3
"""How long a signal waits for a start that is under way. One that waits for its broker is not waited for."""
MAX_WORKERS: Final = 50
USAGE: Final = 2
UNAVAILABLE: Final = 3
"""Exit codes, as `portico` has them: a usage error or wrong settings; something does not answer, and may later."""
FLUSH_SECONDS: Final = 3
"""What a stopping process gives its last spans, after its work has been finished."""
SECOND_SIGNAL: Final = b'{"event": "second signal, leaving now", "level": "error"}\n'


def container_config(
    settings: ServiceSettings, end_process: Callable[[str], None]
) -> dict[str, Any]:
    """nameko's configuration for one service. `end_process(reason)` is for what can't be fixed from inside."""
    return {
        "AMQP_URI": settings.amqp_uri.reveal(),
        "WEB_SERVER_ADDRESS": settings.http_address,
        "http_shared": settings.http_shared,
        "max_workers": MAX_WORKERS,
        "SERVICE_CONTAINER_CLS": "shared.nameko_ext.container.CorrelatedContainer",
        "settings": settings,
        "end_process": end_process,
    }


class Running:
    """Services that run in this process until told to stop."""

    def __init__(self, services: Sequence[tuple[type, ServiceSettings]]) -> None:
        disable_created_metrics()  # a time beside each counter, which doubles what is scraped
        self._runners: list[Any] = []
        for service, settings in services:
            telemetry.BUILD.labels(service.name, VERSION, platform.python_version()).set(1)  # type: ignore[attr-defined]
            runner = ServiceRunner(container_config(settings, self.end))
            runner.add_service(service)
            self._runners.append(runner)
        self._signalled = False
        self._stopping = False
        self._failure = ""
        self._started = eventlet.Event()
        self._stopped = eventlet.Event()

    def start(self) -> None:
        """Start all; returns when each takes requests (and its broker connection stands)."""
        for thread in [eventlet.spawn(runner.start) for runner in self._runners]:
            thread.wait()
        self._started.send()

    def failing(self) -> dict[str, str]:
        """What keeps the services from being ready, by its part; empty when they are. As `/readyz` has it."""
        return {
            part: problem
            for runner in self._runners
            for container in runner.containers
            for extension in container.extensions
            if (report := getattr(extension, "readiness_report", None)) is not None
            for part, problem in report()[1]["failing"].items()
        }

    def tell_readiness(self, began: float) -> None:
        """Say once that all is ready, and until then, when it changes, why it is not. `began` is a time.monotonic()."""
        told: dict[str, str] = {}
        while not self._stopping:
            with eventlet.Timeout(READY_SECONDS, False):
                (self._stopped if self._started.ready() and told else self._started).wait()
            failing = self.failing()
            if self._started.ready() and not failing:
                log.info("ready", seconds=round(time.monotonic() - began, 2))
                return
            if failing and failing != told:
                log.error("not ready", **failing)
            told = failing

    def stop_on_signals(self) -> None:
        """SIGTERM or SIGINT drains; a second one, or the end of the grace period, ends the process at once."""
        reading, writing = socket.socketpair()

        def on_signal(number: int, frame: Any) -> None:
            if self._signalled:
                # At once means here: the hub may be busy, and a default action would spare process 1.
                os.write(sys.stderr.fileno(), SECOND_SIGNAL)
                os._exit(1)
            self._signalled = True

        def shut_down() -> None:
            reading.recv(1)
            self._shut_down()

        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)
        # The hub sleeps through a signal (Python goes on with the poll), but not through a byte.
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        self._wake = writing  # open as long as signals may come
        eventlet.spawn_n(shut_down)

    def end(self, reason: str) -> None:
        """Stop as at a signal, and leave with an error: whoever supervises the process starts it again."""
        if not self._stopping:
            log.critical("ending for a new start", reason=reason)
            self._failure = reason
            eventlet.spawn_n(self._shut_down)

    def _shut_down(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        eventlet.spawn_after(GRACE_SECONDS, _leave, 70, "grace period over, leaving now")
        with eventlet.Timeout(START_SECONDS, False):
            self._started.wait()  # stopped before, parts would start after they stopped
        try:
            for thread in [eventlet.spawn(runner.stop) for runner in self._runners]:
                thread.wait()
        except BaseException:
            log.critical("could not stop", exc_info=True)
            _leave(1, "")
        self._stopped.send()

    def wait(self) -> None:
        """Until all have stopped. When one dies the process leaves: half a process is worse than none."""

        def watch(runner: Any) -> None:
            try:
                runner.wait()
            except BaseException:
                log.critical("a service died", exc_info=True)
                _leave(1, "")
            if not self._stopping:
                _leave(1, "a service ended by itself")

        for runner in self._runners:
            eventlet.spawn_n(watch, runner)
        self._stopped.wait()
        if self._failure:
            _leave(1, self._failure)


def _leave(code: int, reason: str) -> None:
    if reason:
        log.error(reason)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)  # a container's own kill can block indefinitely


def log_escaped_errors() -> None:
    """Log what escapes a green thread like everything else; eventlet prints it to standard error, secrets and all."""
    hub = eventlet.hubs.get_hub()

    def log_it(*args: Any) -> None:
        if not isinstance(args[-1][1], SettingsError):  # whoever waits for the start says it
            log.error("a green thread failed", exc_info=args[-1])

    def log_and_let_go(descriptor: int, exc_info: Any) -> None:
        log_it(exc_info)
        with contextlib.suppress(Exception):
            hub.remove_descriptor(descriptor)

    hub.squelch_generic_exception = hub.squelch_timer_exception = log_it
    hub.squelch_exception = log_and_let_go


def start_tracing(settings: TracingSettings | None, service: str) -> None:
    """Record from now on what this process does, in the name of `service`; None: record nothing."""
    if settings is None:
        return
    # OpenTelemetry and requests: a process that is not traced never needs them.
    from shared.tracing.recorder import OpenTelemetryRecorder, exporting, session_to

    session = session_to(settings.endpoint)
    tracing.use(OpenTelemetryRecorder(exporting(settings, service, session)))


def stop_tracing() -> None:
    """Record nothing more, and hand over what is recorded, as far as that is done in `FLUSH_SECONDS`."""
    with eventlet.Timeout(FLUSH_SECONDS, False):
        tracing.stop()


def serve(service: type, settings: ServiceSettings) -> None:
    """Run one service until SIGTERM."""
    name: str = service.name  # type: ignore[attr-defined]
    started = time.monotonic()
    log_escaped_errors()
    start_tracing(settings.tracing, name)
    running = Running([(service, settings)])
    running.stop_on_signals()
    log.info("starting", address=settings.http_address)

    def main() -> None:
        try:
            running.start()
        except SettingsError as error:
            _leave(_refuse(f"Portico can't start: {error}"), "")
        except BaseException:
            log.critical("could not start", exc_info=True)
            _leave(1, "")
        # What is there now is there to stay. A full collection that looks at it holds every green thread up for 55 ms.
        gc.freeze()

    eventlet.spawn_n(main)
    eventlet.spawn_n(running.tell_readiness, started)
    running.wait()
    stop_tracing()
    log.info("stopped", name=name)


def command_line(
    service: type,
    load: Callable[[Mapping[str, str]], ServiceSettings],
    commands: Mapping[str, Callable[[ServiceSettings, list[str]], int]] | None = None,
    argv: Sequence[str] | None = None,
) -> int:
    """`python -m services.<name> [serve|migrate|…]`; returns the exit code (2: wrong settings or words).

    Migrating needs the database's URL and no other setting, so that its job holds no key of the service's.
    """
    name: str = service.name  # type: ignore[attr-defined]
    words = list(sys.argv[1:] if argv is None else argv)
    command = words.pop(0) if words else "serve"
    known = ["serve", *MIGRATING, *(commands or {})]
    if command not in known:
        return _refuse(f"usage: python -m services.{name} [{'|'.join(known)}]")
    try:
        if command in MIGRATING:
            flags = AFTER_ROLL if command == "migrate" else ()
            if any(word not in flags for word in words):
                return _refuse(f"usage: python -m services.{name} {' '.join([command, *flags])}")
            return MIGRATING[command](name, _database_url(name), words)
        settings = load(os.environ)
        telemetry.configure_logging(name, level=settings.log_level)
        if command in (commands or {}):
            return (commands or {})[command](settings, words)
    except SettingsError as error:
        return _refuse(str(error))
    except DatabaseUnavailable as error:
        return _refuse(str(error), UNAVAILABLE)
    serve(service, settings)
    return 0


def _refuse(why: str, code: int = USAGE) -> int:
    from shared.terminal import complain  # typer: a serving process never needs them

    complain(why)
    return code


def _database_url(name: str) -> str:
    reader = Reader(os.environ)
    url, level = reader.database_url(name), reader.log_level()
    reader.done()
    telemetry.configure_logging(name, level=level)
    return url.reveal()


def _migrate(name: str, url: str, words: Sequence[str]) -> int:
    from shared.migrations import upgrade  # alembic: 8 MB that a serving process never needs

    try:
        before, after = upgrade(name, url, after_roll=bool(words))
    except SQLAlchemyError as error:
        if not is_away(error):
            raise
        raise DatabaseUnavailable(reason_of(error)) from error
    if before.standing is Standing.AHEAD:
        log.info("already ahead: a newer release's")
    elif before.revision == after.revision:
        log.info("nothing to migrate", revision=after.revision)
    else:
        log.info("migrated", since=before.revision, revision=after.revision)
    if after.after_roll is not None:
        log.info(after.after_roll)
    return 0


def _wait_migrated(name: str, url: str, words: Sequence[str]) -> int:
    from shared.migrations import wait_migrated

    if wait_migrated(name, url):
        return 0
    log.error("the database was not migrated in time", service=name)
    return 1


def _wait_for_database(name: str, url: str, words: Sequence[str]) -> int:
    from shared.migrations import wait_for_database

    if wait_for_database(url):
        return 0
    log.error("the database took no connection in time", service=name)
    return 1


AFTER_ROLL: Final = ("--after-roll",)
"""What `migrate` takes: run what waits for the end of the roll."""
MIGRATING: Final[dict[str, Callable[[str, str, Sequence[str]], int]]] = {
    "wait-for-database": _wait_for_database,
    "migrate": _migrate,
    "wait-migrated": _wait_migrated,
}
