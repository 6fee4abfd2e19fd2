"""Imported first in every process: makes the standard library cooperative (eventlet) before anything else
has a chance to keep a reference to the blocking one. Patched late, TLS ends in RecursionError.

Names are looked up by the system's resolver, in a thread. eventlet would do it with dnspython, at 21 MB and a tenth of a
second of CPU a process, and with the name servers that stood in /etc/resolv.conf when the process began.
"""

import atexit
import gc
import os
import socket
import warnings
from typing import Any

# What is loaded now stays: looking for garbage among it after each 700 new objects is a sixth of the start.
gc.set_threshold(10_000)

system_look_up = socket.getaddrinfo
os.environ["EVENTLET_NO_GREENDNS"] = "yes"  # eventlet reads both when it is imported
os.environ.setdefault("EVENTLET_THREADPOOL_SIZE", "4")
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

import eventlet  # noqa: E402
from eventlet import tpool  # noqa: E402
from eventlet.green import socket as green_socket  # noqa: E402


def look_up(
    host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
) -> Any:
    """`socket.getaddrinfo` during which other green threads go on. Raises `socket.gaierror`."""
    try:  # what is an address already needs no thread
        return system_look_up(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
    except socket.gaierror:
        return tpool.execute(system_look_up, host, port, family, type, proto, flags)


eventlet.monkey_patch()
atexit.unregister(tpool.killall)  # it would hold the end of the process up for a look-up that hangs
socket.getaddrinfo = look_up
green_socket.getaddrinfo = look_up  # what eventlet's create_connection calls
