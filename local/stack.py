"""`make stack`: the distributed system on this machine, each part a process, on a private RabbitMQ and PostgreSQL.

What `make run` holds in one process is here as in production: the same services, quorum queues, real transactions.
Data is kept under `var/stack` (PORTICO_VAR moves `var`), so that it can be stopped and started.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from examples.host_app import Portico
from local.folder import make_folder, only_one, shown
from local.ports import PORTS, CannotStart, chosen_ports, taken
from local.processes import SERVICES, Stack
from local.servers import PORTS as OTHER_PORTS
from local.servers import ServerMissing, StartError, is_free
from sandbox import demo
from sandbox.private import OTHERS, open_private, tighten


def choose_ports(
    environ: Mapping[str, str], free: Callable[[int], bool] = is_free
) -> dict[str, int]:
    """The ports that the environment names; else the usual ones where they are free, else the next free ones. Raises
    CannotStart."""
    chosen = chosen_ports(environ)
    for part, port in chosen.items():
        if not free(port):
            raise taken(part, port, "make stack")
    for part, usual in PORTS.items():
        if part in chosen:
            continue
        others = set(chosen.values()) | set(PORTS.values()) - {usual}
        chosen[part] = next(
            port for port in range(usual, OTHER_PORTS.start) if port not in others and free(port)
        )
        if chosen[part] != usual:
            print(f"Port {usual} is taken: {part} is on {chosen[part]}.")
    return chosen


def seed(stack: Stack) -> list[dict[str, Any]]:
    """Make the demo customers, and show them on the sandbox's console; then open Stripe's page once, as the first click would:
    billing makes its portal configuration with that, and `portico doctor` has nothing to find."""
    customers = demo.seed(stack.amqp_uri, stack.sandbox_url, stack.stripe_api_key)
    with Portico(stack.amqp_uri, timeout=10) as portico:
        first = customers[0]
        portico.call(
            "billing",
            "create_portal_session",
            stripe_customer_id=first["stripe_customer_id"],
            return_url=first["link"],
            business_id=demo.BUSINESS,
        )
    demo.show(stack.sandbox_url, customers)
    return customers


def write_settings(stack: Stack) -> Path:
    """The services' settings for `portico --env-file`, readable for us alone; returns the file's path."""
    file = stack.folder / "portico.env"
    settings = {name: value for service in SERVICES for name, value in stack.env(service).items()}
    for address in ("HTTP_ADDRESS", "API_ADDRESS"):
        settings.pop(address)
    with open_private(file, "w") as stream:
        stream.writelines(f"{name}={value}\n" for name, value in settings.items())
    return file


def say(stack: Stack, customers: list[dict[str, Any]], seconds: float) -> None:
    """Tell where to look."""
    lines = [
        f"Portico is ready ({seconds:.1f} s). Open:",
        "",
        f"  {stack.sandbox_url}/         the sandbox: decline a charge and follow the story",
        f"  {stack.sandbox_url}/inbox    the mailbox",
        "",
        "  A page for each kind of customer:",
        *(f"  {person['link']}   {person['description']}" for person in customers),
        "",
        f"portal {stack.portal_url}, billing {stack.billing_url}, notifier {stack.notifier_url}: a process each,",
        f"on a RabbitMQ (port {stack.rabbitmq.port}) and a PostgreSQL (port {stack.postgres.port}) of their own.",
        f"The API for your own software is {stack.api_url}. A key for it:",
        f"  .venv/bin/portico --env-file {shown(stack.folder)}/portico.env keys create NAME --scope write",
        f"Ask: .venv/bin/portico --env-file {shown(stack.folder)}/portico.env doctor",
        f"Data and logs: {shown(stack.folder)}. Stop: Ctrl-C.",
    ]
    if not stack.postgres.folder.is_relative_to(stack.folder):
        lines.append(
            f"PostgreSQL does not run as root, and its user can't reach that folder: its data is in {stack.postgres.folder}."
        )
    print("\n".join(lines), flush=True)


def watch(stack: Stack) -> None:
    """Until a signal ends us: say when a process has ended by itself, once each."""
    told: set[str] = set()
    while True:
        time.sleep(0.5)
        for process in stack.everything():
            if not process.running and process.name not in told:
                told.add(process.name)
                print(f"{process.name} has ended; its log is in {shown(stack.folder)}.")


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Start everything, print where to look, run until Ctrl-C. Returns the exit code."""
    began = time.monotonic()
    os.umask(OTHERS)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(environ.get("PORTICO_VAR") or "var").absolute() / "stack"
    try:
        make_folder(folder)
        tighten([folder, *folder.rglob("*")])
        with only_one(folder, "make stack"):
            stack = Stack(folder, ports=choose_ports(environ), durable=True)
            try:
                print("Starting RabbitMQ, PostgreSQL, the sandbox and the services.", flush=True)
                stack.start()
                write_settings(stack)
                say(stack, seed(stack), time.monotonic() - began)
                watch(stack)
            except KeyboardInterrupt:
                print("\nStopping.", flush=True)
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                stack.stop()
    except (CannotStart, ServerMissing, StartError) as error:
        print(error, file=sys.stderr)
        return 1
    print("Stopped. Data is kept; `make clean` removes it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
