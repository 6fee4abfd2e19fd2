"""The ceiling of the framework: nameko as it comes, saying hello over HTTP; and the plain RPC method that a team would
write: one look at the database a call, by the same statements as ours.
"""

from __future__ import annotations

import eventlet

eventlet.monkey_patch()

import datetime as dt  # noqa: E402
import os  # noqa: E402
from typing import Any  # noqa: E402

import msgspec  # noqa: E402
from nameko.rpc import rpc  # noqa: E402
from nameko.runners import ServiceRunner  # noqa: E402
from nameko.web.handlers import http  # noqa: E402
from sqlalchemy import create_engine  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402

from services.portal import serializers as wire  # noqa: E402
from services.portal.queries import page  # noqa: E402
from services.portal.tokens.links import Links  # noqa: E402
from shared.settings import Secret  # noqa: E402

ENGINE = create_engine(os.environ["DATABASE_URL"], pool_size=10, max_overflow=10)
LINKS = Links([Secret(os.environ["LINK_KEY"])], "http://localhost")


class Hello:
    """Stock nameko: no hardening, no metrics, no correlation."""

    name = "hello"

    @http("GET", "/hello/<name>")
    def hello(self, request: Any, name: str) -> str:
        """Hello, name."""
        return f"Hello, {name}"

    @http("GET", "/readyz")
    def ready(self, request: Any) -> str:
        """For the one who waits."""
        return "ok"

    @rpc
    def echo(self, name: str) -> str:
        """A call that does nothing: what RPC itself takes."""
        return name

    @rpc
    def lookup(self, token: str) -> dict[str, Any]:
        """Whose link it is: the query of `portal.lookup`, alone."""
        claim = LINKS.read(token)
        now = dt.datetime.now(dt.UTC)
        with Session(ENGINE) as session:
            found = page.lookup_many(session, [claim.public_id], now).get(claim.public_id)
        if found is None:
            raise LookupError("no such customer")
        plain: dict[str, Any] = msgspec.to_builtins(wire.snapshot(found, now))
        return plain


def main() -> None:
    """Serve until killed."""
    runner = ServiceRunner(
        {
            "AMQP_URI": os.environ["AMQP_URI"],
            "WEB_SERVER_ADDRESS": os.environ["HTTP_ADDRESS"],
            "max_workers": 50,
        }
    )
    runner.add_service(Hello)
    runner.start()
    runner.wait()


if __name__ == "__main__":
    main()
