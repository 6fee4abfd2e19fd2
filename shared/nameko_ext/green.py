"""Imported first in every process: makes the standard library cooperative (eventlet) before anything else
has a chance to keep a reference to the blocking one. Patched late, TLS ends in RecursionError.

PostgreSQL is waited for by eventlet, within the limits that libpq keeps where it waits by itself: eventlet's own wait has none.

Names are looked up by the system's resolver, in a thread. eventlet would do it with dnspython, at 21 MB and a tenth of a
second of CPU a process, and with the name servers that stood in /etc/resolv.conf when the process began.
"""

import atexit
import gc
import os
import socket
import sys
import threading
import time
import warnings
from contextlib import nullcontext
from typing import Any

# What is loaded now stays: looking for garbage among it after each 700 new objects is a sixth of the start.
gc.set_threshold(10_000)

# structlog loads rich where it is installed, for tracebacks in colour: 3 MB that no serving process needs.
sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402, F401

del sys.modules["rich"]

system_look_up = socket.getaddrinfo
os.environ["EVENTLET_NO_GREENDNS"] = "yes"  # eventlet reads both when it is imported
os.environ.setdefault("EVENTLET_THREADPOOL_SIZE", "4")
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

import eventlet  # noqa: E402
from eventlet import tpool  # noqa: E402
from eventlet.green import socket as green_socket  # noqa: E402
from eventlet.hubs import trampoline  # noqa: E402
from psycopg2 import OperationalError, extensions  # noqa: E402

from shared.contracts.deadlines import DATABASE_ANSWERS  # noqa: E402

CONNECTED = (extensions.STATUS_READY, extensions.STATUS_BEGIN, extensions.STATUS_PREPARED)


def look_up(
    host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> Any:
    """`socket.getaddrinfo` during which other green threads go on. Raises `socket.gaierror`."""
    try:  # what is an address already needs no thread
        return system_look_up(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
    except socket.gaierror:
        return tpool.execute(system_look_up, host, port, family, type, proto, flags)


def wait_for_postgresql(connection: Any) -> None:
    """Let other green threads go on until PostgreSQL has answered: within `connect_timeout` while the connection is made, and
    `DATABASE_ANSWERS` between two words later. What is raised here makes psycopg2 close the connection.

    Raises psycopg2.OperationalError.
    """
    connecting = connection.status not in CONNECTED
    limit: float = _connect_seconds(connection) if connecting else DATABASE_ANSWERS
    end = time.monotonic() + limit
    silence = OperationalError(
        "timeout expired" if connecting else "no word from the database in time"
    )
    while (state := connection.poll()) != extensions.POLL_OK:
        reading = state == extensions.POLL_READ
        trampoline(
            connection.fileno(),
            read=reading,
            write=not reading,
            timeout=max(0.0, end - time.monotonic()) if connecting else limit,
            timeout_exc=silence,
        )


def _connect_seconds(connection: Any) -> int:
    return int(extensions.parse_dsn(connection.dsn).get("connect_timeout", 0)) or DATABASE_ANSWERS


# Python 3.14 keeps a lock as this function's default, where eventlet does not find it and says so at every start. It
# needs none here: no other green thread runs between its steps.
forget_thread = getattr(getattr(threading, "_DeleteDummyThreadOnDel", None), "__del__", None)
if forget_thread is not None and forget_thread.__defaults__:
    forget_thread.__defaults__ = tuple(
        nullcontext() if isinstance(one, type(threading.RLock())) else one
        for one in forget_thread.__defaults__
    )

eventlet.monkey_patch()
extensions.set_wait_callback(wait_for_postgresql)
atexit.unregister(tpool.killall)  # it would hold the end of the process up for a look-up that hangs
socket.getaddrinfo = look_up
green_socket.getaddrinfo = look_up  # what eventlet's create_connection calls
