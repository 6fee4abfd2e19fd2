"""The demo customers for a sandbox that runs elsewhere: `python -m sandbox.seed`, in a container beside it.

Makes them as a host application would (AMQP_URI, STRIPE_API_BASE, STRIPE_API_KEY), shows them on the sandbox's console
and prints their links. Waits for services that are still coming up; a second run changes nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Final

import requests
from amqp.exceptions import AMQPError
from kombu.exceptions import KombuError

from examples.host_app import PorticoError
from sandbox import demo

NOT_YET: Final = (
    OSError,
    AMQPError,
    KombuError,
    TimeoutError,
    PorticoError,
    requests.RequestException,
)
PATIENCE_SECONDS: Final = 300.0


def main(environ: Mapping[str, str] = os.environ, patience: float = PATIENCE_SECONDS) -> int:
    """Seed, within `patience` seconds; returns the exit code."""
    missing = [
        name for name in ("AMQP_URI", "STRIPE_API_BASE", "STRIPE_API_KEY") if not environ.get(name)
    ]
    if missing:
        print(f"not set: {', '.join(missing)}", file=sys.stderr)
        return 2
    base = environ["STRIPE_API_BASE"].rstrip("/")
    end = time.monotonic() + patience
    while True:
        try:
            customers = demo.seed(environ["AMQP_URI"], base, environ["STRIPE_API_KEY"])
            demo.show(base, customers)
            break
        except NOT_YET as error:
            if time.monotonic() >= end:
                print(f"gave up: {type(error).__name__}", file=sys.stderr)
                return 1
            time.sleep(2)
    for person in customers:
        print(f"{person['link']}   {person['description']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
