"""Calls hosts' endpoints in green threads, as the notifier's process does; prints what came of it as JSON.

`python -m tests.contract.green_hosts PORT CERTIFICATE`: at PORT a TLS host answers 200; the other hosts are made here.
"""

from __future__ import annotations

import shared.nameko_ext.green  # isort: skip  # noqa: F401

import json
import socket
import sys
import time
from collections.abc import Sequence

import eventlet

from services.notifier.adapters.hosts.caller import HostCaller
from services.notifier.adapters.hosts.time_limit import SharedLookUps, TimeLimitedHosts
from services.notifier.domain.hook_addresses import Target

SECONDS = 2.0


def look_up(host: str, port: int) -> Sequence[str]:
    if host.startswith("hangs"):
        eventlet.sleep(60)
    return ["127.0.0.1"]


def silent() -> int:
    """A host that takes connections and says nothing: no handshake ever ends there."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        kept = []
        while True:
            kept.append(listener.accept())

    eventlet.spawn_n(serve)
    return int(listener.getsockname()[1])


def main() -> None:
    port, certificate = int(sys.argv[1]), sys.argv[2]
    caller = HostCaller(
        look_up=SharedLookUps(look_up),
        is_allowed=lambda address: address == "127.0.0.1",
        certificates=certificate,
        seconds=SECONDS,
    )
    hosts = TimeLimitedHosts(caller, SECONDS + 0.5)
    mute = silent()
    found: dict[str, list[object]] = {}

    def call(name: str, scheme: str, host: str, at: int) -> None:
        began = time.monotonic()
        answer = hosts.post(Target(scheme, host, at, "/"), b"{}", {"webhook-id": "evh_1"})
        found[name] = [answer.status, answer.error, time.monotonic() - began]

    calls = [
        eventlet.spawn(call, "hangs", "https", "hangs.example.com", port),
        eventlet.spawn(call, "hangs too", "https", "hangs.example.com", port),
        eventlet.spawn(call, "no handshake", "https", "hooks.example.com", mute),
        eventlet.spawn(call, "no answer", "http", "hooks.example.com", mute),
        eventlet.spawn(call, "well", "https", "hooks.example.com", port),
        eventlet.spawn(call, "wrong name", "https", "other.example.com", port),
    ]
    for one in calls:
        one.wait()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
