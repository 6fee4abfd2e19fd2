"""Stripe, customers and a host application without a pause, towards the processes that are serving at the time."""

from __future__ import annotations

import http.client
import itertools
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from amqp.exceptions import AMQPError

from examples.host_app import PorticoError
from local.processes import SERVICES, Process
from tests.faults.books import Books, check
from tests.faults.plan import Plan, make_plan
from tests.faults.poster import Poster
from tests.faults.run import QUIET_WITHIN, is_quiet
from tests.faults.system import System
from tests.fixtures.story import Story

VISITORS: Final = 20
"""Enough that nobody has ten Stripe pages made a minute, which is the limit."""
PORTION: Final = 12
"""Stripe events that are planned at a time."""
PORTION_SECONDS: Final = 2.0
PRE_STOP_SECONDS: Final = 1.0
"""How long a process serves on when requests already go elsewhere; in a cluster it is ten."""
GOOD: Final = "as it should be"

MOST_CUSTOMERS: Final = 2000
"""Enough for five minutes of new customers."""

_seeds = itertools.count(1000)


def make_visitors(system: System) -> list[str]:
    """Ids of customers with a card at Stripe, whose button makes a session. Stripe says nothing by itself after this."""
    stack = system.stack
    story = Story(system.host(timeout=10), stack.sandbox_url, stack.stripe_api_key)
    made = [story.customer("card saved").customer_id for _ in range(VISITORS)]
    story.close()
    # The address that the sandbox posts to is of a process that may be gone later.
    system.sandbox("POST", "/sandbox/webhooks", {"drop": True})
    return made


class Load:
    """A context in which webhooks come, pages are opened, buttons pressed and links asked for, all the time.

    Requests go to the processes that `direct` named last, as a load balancer would send them. Every answer counts: there
    is no second try but Stripe's own, and what made it necessary counts too.
    """

    def __init__(self, system: System, visitors: Sequence[str]) -> None:
        self._system = system
        self.links = {customer_id: self._new_link(customer_id) for customer_id in visitors}
        """What stands in the newest email of each visitor."""
        self.answers: dict[str, Counter[str]] = defaultdict(Counter)
        """What each kind of request was answered with, and how often."""
        self.plan = Plan(0)
        self._portions = itertools.count()
        # What came before is no business of this plan's.
        self.plan.genuine |= {row[0] for row in system.rows("billing", "SELECT id FROM inbox")}
        self._forged = 0
        self.poster = Poster([], system.stack.env("billing")["STRIPE_WEBHOOK_SECRETS"])
        self._live: dict[str, list[int]] = {}
        for service in SERVICES:
            self.direct(service, system.stack.processes(service))
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep_on, args=work, daemon=True, name=work[0])
            for work in (
                ("page", self._open_page, 0.1),
                ("button", self._press_button, 0.7),
                ("link", self._ask_for_link, 0.3),
                ("webhooks", self._post_portion, PORTION_SECONDS),
            )
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)
        try:
            if error[0] is None:
                self.poster.drain(within=60)
        finally:
            self.poster.close()

    # -- what an orchestrator does -------------------------------------------------------------------------

    def direct(self, service: str, processes: Sequence[Process]) -> None:
        """From now on, requests for a service go to these processes alone."""
        self._live[service] = [process.port for process in processes]
        if service == "billing":
            self.poster.ports = self._live[service]

    def roll(self, *services: str, beside: float) -> None:
        """Successors, old and new side by side for so many seconds, requests to the new alone, the old ends.

        AssertionError when one of them ends badly.
        """
        pairs = {service: self._system.succeed(service) for service in services}
        for service, (old, new) in pairs.items():
            self.direct(service, [*old, *new])
        time.sleep(beside)
        for service, (_, new) in pairs.items():
            self.direct(service, new)
        time.sleep(PRE_STOP_SECONDS)
        codes = self._system.retire([process for old, _ in pairs.values() for process in old])
        assert set(codes) == {0}, f"exit codes {codes}"

    # -- what became of it ---------------------------------------------------------------------------------

    def failed(self) -> dict[str, dict[str, int]]:
        """Requests that did not get what they should, by kind and answer."""
        webhooks = {str(status): count for status, count in self.poster.ledger.answers.items()}
        webhooks["400"] = webhooks.get("400", 0) - self._forged
        webhooks.pop("200", None)
        kinds = {kind: dict(answers) for kind, answers in self.answers.items()}
        for answers in kinds.values():
            answers.pop(GOOD, None)
        kinds["webhook"] = {status: count for status, count in webhooks.items() if count}
        return {kind: answers for kind, answers in kinds.items() if answers}

    def settle(self) -> Books:
        """Wait for quiet, check the books and print what it came to."""
        forced: set[str] = set()
        self._system.wait(lambda: is_quiet(self._system, forced), QUIET_WITHIN)
        books = check(self._system, self.plan, self.poster.ledger, forced)
        asked = {kind: sum(answers.values()) for kind, answers in sorted(self.answers.items())}
        asked["webhook"] = sum(self.poster.ledger.answers.values())
        print(
            "\nrequests: " + ", ".join(f"{kind} {count}" for kind, count in asked.items()),
            f"failed: {self.failed() or 0}",
            f"failed charges: {len(self.plan.failures)}, mails in all: {books.mails}, "
            f"lost {len(books.lost_mails) + len(books.silent)}, doubled {len(books.doubled)}",
            sep="\n",
        )
        return books

    # -- who asks ------------------------------------------------------------------------------------------

    def write_to_all(self) -> None:
        """Every customer gets an email with the link of now."""
        for customer_id in self.links:
            self.links[customer_id] = self._new_link(customer_id)

    def _keep_on(self, name: str, ask: Callable[[str], None], pause: float) -> None:
        for customer_id in itertools.cycle(self.links):
            if self._ended.is_set():
                return
            try:
                ask(customer_id)
            except (PorticoError, OSError, AMQPError) as error:
                self.answers[name][f"{type(error).__name__}: {error}"] += 1
            self._ended.wait(pause)

    def _post_portion(self, _: str) -> None:
        first = next(self._portions) * PORTION % MOST_CUSTOMERS
        part = make_plan(PORTION, next(_seeds), steps=1, first=first)
        (deliveries,) = part.segments
        for name in ("genuine", "forged", "failures", "must_mail"):
            getattr(self.plan, name).update(getattr(part, name))
        self._forged += sum(delivery.forgery is not None for delivery in deliveries)
        self.poster.post(deliveries, over=PORTION_SECONDS)

    def _open_page(self, customer_id: str) -> None:
        self.answers["page"][self._get(self.links[customer_id])] += 1

    def _press_button(self, customer_id: str) -> None:
        path = urlsplit(self.links[customer_id]).path
        status, _ = self._request("POST", f"{path}/billing")
        self.answers["button"][GOOD if status == "303" else status] += 1

    def _ask_for_link(self, customer_id: str) -> None:
        """As an email does: the link is made by one process of the portal, and opened at any."""
        self.answers["link"][self._get(self._new_link(customer_id))] += 1

    def _new_link(self, customer_id: str) -> str:
        with self._system.host(timeout=10) as host:
            return str(host.call("portal", "link", customer_id=customer_id)["url"])

    def open(self, link: str) -> str:
        """The status of a customer's page now."""
        return self._request("GET", urlsplit(link).path)[0]

    def _get(self, link: str) -> str:
        status, page = self._request("GET", urlsplit(link).path)
        if status != "200":
            return status
        return GOOD if b"Manage payment" in page else "a page without the button"

    def _request(self, method: str, path: str) -> tuple[str, bytes]:
        """Status (or what went wrong) and body, on a connection of its own."""
        port = random.choice(self._live["portal"])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path, headers={"Connection": "close"})
            answer = connection.getresponse()
            return str(answer.status), answer.read()
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__, b""
        finally:
            connection.close()
