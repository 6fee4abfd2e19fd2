"""`python -m tests.bench.host_api_straight SECONDS`: a page and an upsert without HTTP, called one after another in this process, in the
environment of a portal. Reads `{"tokens": […], "customers": n}` on stdin; writes the CPU µs of each on stdout."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from babel import Locale

from services.portal.handlers import customers, resolved_links
from services.portal.settings import load
from services.portal.tokens.links import Links
from services.portal.web import views
from shared.contracts.rpc.portal import CustomerArguments
from shared.database import Transactions, make_engine

TOGETHER = 8
"""Pages whose looks share a statement: about what they do under load."""


def cost(seconds: float, work: Callable[[], Any], each: int) -> float:
    """CPU µs of one."""
    for _ in range(20):
        work()
    until, began, count = time.monotonic() + seconds, time.process_time(), 0
    while time.monotonic() < until:
        work()
        count += each
    return 1e6 * (time.process_time() - began) / count


def main() -> int:
    """Measure both."""
    seconds, plan = float(sys.argv[1]), json.load(sys.stdin)
    settings = load(os.environ)
    database = Transactions(make_engine(settings.database_url.reveal()))
    links = Links(settings.link_keys, settings.public_url)
    tokens, numbers = itertools.cycle(plan["tokens"]), itertools.count()

    def pages() -> None:
        now = dt.datetime.now(dt.UTC)
        some = [next(tokens) for _ in range(TOGETHER)]
        claims = [resolved_links.read_claim(links, one) for one in some]
        with database.reading() as session:
            found = resolved_links.look_many(session, [one.public_id for one in claims if one], now)
        for token, snapshot in zip(some, found, strict=True):
            if snapshot is not None:
                notice = resolved_links.notice_for(snapshot, now)
                view = views.MeView(
                    snapshot=snapshot, notice=notice, token=token, locale=Locale.parse("en"), now=now,
                    came_from=None, updating=True, platform=settings.platform_name,
                )  # fmt: skip
                views.me(view, session_origins=settings.portal_session_origins)

    def upsert() -> None:
        number = next(numbers)
        given = CustomerArguments(
            business_id="bench", external_id=f"c-{number % plan['customers']}", name=f"Straight {number}",
            email=f"{number}@example.com", locale="en",
        )  # fmt: skip
        with database.transaction() as session:
            customers.upsert_customer(session, given, dt.datetime.now(dt.UTC))

    json.dump({"page": cost(seconds, pages, TOGETHER), "upsert": cost(seconds, upsert, 1)}, sys.stdout)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
