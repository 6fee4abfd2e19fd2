"""Several notifiers at once: they share a storm, and no mail is sent twice."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator

import pytest

from local.processes import fetch
from local.servers import own_folder
from tests.faults.books import accepted_mails
from tests.faults.payloads import invoice_event
from tests.faults.plan import Delivery
from tests.faults.poster import Poster
from tests.faults.run import is_quiet
from tests.faults.system import Servers, System

NOTIFIERS = 4
FAILURES = 300
SENT = re.compile(r'^portico_emails_sent_total\{[^}]*outcome="sent"[^}]*\} (\S+)$', re.MULTILINE)


@pytest.fixture
def crowded(servers: Callable[[], Servers]) -> Iterator[System]:
    """A system with several notifiers."""
    folder = own_folder("sharing")
    folder.chmod(0o711)
    with System(folder, replicas={"notifier": NOTIFIERS}, servers=servers()) as system:
        system.make_customers(FAILURES)
        yield system
    shutil.rmtree(folder, ignore_errors=True)


def test_notifiers_share_a_storm(crowded: System) -> None:
    """Three hundred failures at once: each is one mail, and each notifier has sent some of them."""
    billing = crowded.stack.processes("billing")
    poster = Poster([process.port for process in billing], crowded.stack.webhook_secret)
    deliveries = [
        Delivery(
            invoice_event(
                "invoice.payment_failed",
                event_id=f"evt_share{number}",
                invoice_id=f"in_share{number}",
                customer_id=next(crowded.customers),
            )
        )
        for number in range(FAILURES)
    ]
    poster.post(deliveries)
    poster.drain(60)
    poster.close()
    forced: set[str] = set()
    crowded.wait(lambda: is_quiet(crowded, forced, grace=3), 120)
    mails = accepted_mails(crowded)
    assert (len(mails), {len(copies) for copies in mails.values()}) == (FAILURES, {1})
    shares = [
        sum(map(float, SENT.findall(fetch(f"{process.url}/metrics"))))
        for process in crowded.stack.processes("notifier")
    ]
    assert sum(shares) == FAILURES
    assert min(shares) > 0
