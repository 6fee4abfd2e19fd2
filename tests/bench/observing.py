"""`python -m tests.bench.observing`: a storm of failures while a business observes, then going live, then accepting, on the real system.

EVENTS=5000 says how many invoices fail; some customers owe three, some invoices are paid meanwhile, some customers give a new card. While
it observes, and by going live, nothing goes: no mail, no write to Stripe, no webhook to a host. Accepting the preview sends what stands in
it less what was paid since, each once. BENCH_WRITE= (empty) prints without writing the page.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from services.notifier.domain.reminders import GATHER_FOR
from services.notifier.domain.vocabulary import Reason
from tests.bench import report
from tests.bench.at_size import BUSINESS, Site, load_averages, running
from tests.bench.report import Tick
from tests.fixtures.webhook_host import WebhookHost

EVENTS = int(os.environ.get("EVENTS", "5000"))
SEVERAL: Final = 3
"""Invoices of a customer who owes several: a tenth of all failures are the first of one."""
SOME: Final = 25
"""One in so many is paid while the business observes, one is paid between preview and accepting, and one's customer gives a new card."""
FIRST_LOOK_SECONDS: Final = 11.0
"""A process looks every ten seconds whether hosts listen at all."""
LEAST_A_SECOND: Final = 5
"""Failures or mails, as slow as a busy machine may be."""
PATIENCE: Final = 120.0
ROWS: Final = 500
SETTINGS: Final = {"STRIPE_LOOK_RATE": "100", "HOOKS_ALLOW_LOOPBACK": "true"}


@dataclass(frozen=True)
class Storm:
    """What happens at Stripe: invoices by their ids, customers by theirs."""

    owed_by: dict[str, str]
    """Whose each failed invoice is."""
    paid_before: Sequence[str]
    """Paid while the business observes."""
    paid_after: Sequence[str]
    """Paid between preview and accepting."""
    new_cards: Sequence[str]
    """Customers who give a new card while the business observes."""


@dataclass
class Gone:
    """What has gone out so far."""

    mails: int
    changes: int
    """Writes to Stripe that change something, without those that the storm itself makes."""
    hooks: int

    def __bool__(self) -> bool:
        return bool(self.mails or self.changes or self.hooks)


@dataclass
class Found:
    """What a run has shown."""

    storm: Storm
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each part took."""
    gone: dict[str, Gone] = field(default_factory=dict)
    """What had gone out at the end of each part."""
    offered: int = 0
    """Emails in the preview."""
    charges: int = 0
    """Charges in it."""
    mails: int = 0
    together: int = 0
    """Failures that were told in another's mail."""
    complaints: list[str] = field(default_factory=list)
    load: str = ""


class Run:
    """One run, part by part."""

    def __init__(self, site: Site, host: WebhookHost, events: int, tick: Tick) -> None:
        self.site, self.host, self.tick = site, host, tick
        self._own_changes = 0
        self.found = Found(self._settle(events))

    def _settle(self, events: int) -> Storm:
        """Customers at Stripe and in the portal, a business that observes, a host that listens."""
        site, several = self.site, events // 10
        single = events - SEVERAL * several
        like = site.model()
        site.crowd(like, single, single, single)
        site.crowd(like, several, several, SEVERAL * several)
        owed_by = {
            one["id"]: one["customer"]
            for one in site.listed("invoices", status="open")
            if one["customer"] != like.customer
        }
        call = site.story.portico.call
        call("portal", "upsert_business", business_id=BUSINESS, name="Sunrise Cleaning", email="hello@sunrise.example")  # fmt: skip
        site.portico("observe", "--business", BUSINESS)
        customers = sorted(set(owed_by.values()))
        for start in range(0, len(customers), ROWS):
            some = customers[start : start + ROWS]
            rows = [[one, f"Customer {one}", _address(one), None, None, one] for one in some]
            made = call("portal", "import_customers", business_id=BUSINESS, rows=rows)
            assert made["errors"] == []
        made = call("notifier", "create_webhook_endpoint", url=self.host.url)
        self.host.secrets.append(made["secret"])
        time.sleep(FIRST_LOOK_SECONDS)
        site.sandbox("DELETE", "/sandbox/requests")
        # Stripe's list has no order that means anything here: every SOME-th.
        ids = list(owed_by)
        return Storm(
            owed_by,
            paid_before=ids[0::SOME],
            paid_after=ids[1::SOME],
            new_cards=sorted({owed_by[one] for one in ids[2::SOME]}),
        )

    # -- what happens at Stripe ----------------------------------------------------------------------------

    def _fail(self) -> None:
        invoices = list(self.found.storm.owed_by)
        for number, invoice in enumerate(invoices, 1):
            self.site.sandbox(
                "POST", "/sandbox/events", type="invoice.payment_failed", object=invoice
            )
            self.tick("failures", number, len(invoices))

    def _pay(self, invoices: Sequence[str]) -> None:
        for invoice in invoices:
            self.site.story.post(f"/v1/invoices/{invoice}/pay", paid_out_of_band="true")
            self._own_changes += 1

    def _give_cards(self, customers: Sequence[str]) -> None:
        for customer in customers:
            card = self.site.story.post(
                "/v1/payment_methods/pm_card_visa/attach", customer=customer
            )
            default = {"invoice_settings[default_payment_method]": card["id"]}
            self.site.story.post(f"/v1/customers/{customer}", **default)
            self._own_changes += 2

    # -- what Portico makes of it --------------------------------------------------------------------------

    def _gone(self) -> Gone:
        return Gone(
            len(self._mails()),
            self.site.sandbox("GET", "/sandbox/requests")["changes"] - self._own_changes,
            len(self.host.got),
        )

    def _mails(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.site.sandbox("GET", "/inbox.json?bodies=0")
        return found

    def _quiet(self, what: str) -> None:
        """Wait until nothing is to be done any more, and count what has gone."""
        events = len(self.found.storm.owed_by)

        def is_quiet() -> bool:
            """nothing waits in an outbox or a queue, as an email, or as a card"""
            let_ten_minutes_pass(self.site)
            active = "SELECT 1 FROM notifications WHERE status IN ('pending', 'sending') LIMIT 1"
            cards = "SELECT 1 FROM payment_method_changes WHERE closed_at IS NULL LIMIT 1"
            hooks = "SELECT 1 FROM hook_deliveries WHERE status = 'pending' LIMIT 1"
            return (
                self.site.is_published()
                and not self.site.rows("notifier", active)
                and not self.site.rows("billing", cards)
                and not self.site.rows("notifier", hooks)
            )

        def tell() -> None:
            done = "SELECT count(*) FROM notifications WHERE status NOT IN ('pending', 'sending')"
            self.tick(what, self.site.number("notifier", done), events)

        began = time.monotonic()
        self.site.wait(is_quiet, PATIENCE + events / LEAST_A_SECOND, tell)
        self.found.seconds[what] = time.monotonic() - began
        self.found.gone[what] = self._gone()

    def whole(self) -> Found:
        """All of it."""
        found, site = self.found, self.site
        began, storm = time.monotonic(), found.storm
        with ThreadPoolExecutor(1) as pool:
            beside = pool.submit(
                lambda: (self._pay(storm.paid_before), self._give_cards(storm.new_cards))
            )
            self._fail()
            beside.result()
        found.seconds["failing"] = time.monotonic() - began
        self._quiet("observed")
        preview = json.loads(site.portico("preview", "--business", BUSINESS, "--json"))
        offered = {one["notification_id"]: one for one in preview["notifications"]}
        found.offered, found.charges = len(offered), len(preview["charges"])
        found.complaints += _wrong_preview(storm, preview)
        site.portico("go-live", "--business", BUSINESS, "--yes")
        self._quiet("live")
        self._pay(storm.paid_after)
        self._quiet("some paid")
        file = site.folder / "preview.json"
        file.write_text(json.dumps(preview))
        site.portico("go-live", "--business", BUSINESS, "--accept", str(file), "--yes")
        self._quiet("accepted")
        found.complaints += [f"{what}: {gone} went out" for what, gone in found.gone.items() if what in ("observed", "live") and gone]  # fmt: skip
        found.complaints += self._wrong_mails(offered)
        found.load = load_averages()
        return found

    def _wrong_mails(self, offered: dict[str, dict[str, Any]]) -> Iterator[str]:
        """What was sent against what was offered and is still owed."""
        found, storm = self.found, self.found.storm
        paid = {*storm.paid_before, *storm.paid_after}
        mails: dict[str, list[str]] = defaultdict(list)
        for mail in self._mails():
            mails[mail["custom_args"]["notification_id"]].append(mail["to"])
        found.mails = sum(map(len, mails.values()))
        told_in = dict(
            self.site.rows(
                "notifier",
                "SELECT notification_id, told_in FROM notifications WHERE told_in IS NOT NULL",
            )
        )
        found.together = len(told_in)
        if strange := mails.keys() - offered.keys():
            yield f"{len(strange)} mails went that were not offered, such as {min(strange)}"
        wrong: Counter[str] = Counter()
        for id, row in offered.items():
            sent = mails.get(id, []) + mails.get(told_in.get(id, ""), [])
            if row["invoice_id"] in paid:
                wrong["mails went about what was paid"] += bool(sent)
            else:
                wrong["failures were told twice"] += len(sent) > 1
                wrong["failures were not told"] += not sent
            wrong["mails went to somebody else"] += any(
                to != _address(row["stripe_customer_id"]) for to in sent
            )
        yield from (f"{count} {what}" for what, count in wrong.items() if count)
        if changes := found.gone["accepted"].changes:
            yield f"{changes} writes to Stripe"
        told = Counter(
            event["object"]["id"] in storm.paid_after
            for taken in self.host.got.values()
            for event in taken[:1]
        )
        if told[False]:
            yield f"hosts heard of {told[False]} things of before the line"


def _address(stripe_customer_id: str) -> str:
    return f"{stripe_customer_id.lower()}@example.com"


def _wrong_preview(storm: Storm, preview: dict[str, Any]) -> Iterator[str]:
    """What is offered against what failed and was not paid."""
    failed = Counter(one["invoice_id"] for one in preview["notifications"])
    unpaid = storm.owed_by.keys() - set(storm.paid_before)
    if missing := unpaid - failed.keys():
        yield f"{len(missing)} failures are not in the preview, such as {min(missing)}"
    if strange := failed.keys() - storm.owed_by.keys():
        yield f"{len(strange)} failures in the preview are nobody's, such as {min(strange)}"
    if twice := [one for one, times in failed.items() if times > 1]:
        yield f"{len(twice)} failures are twice in the preview, such as {min(twice)}"
    paying = {one["stripe_customer_id"] for one in preview["charges"]}
    owing = {storm.owed_by[one] for one in unpaid}
    if paying != owing & set(storm.new_cards):
        yield f"{len(paying)} customers would have been charged, of {len(storm.new_cards)} with a new card"


def let_ten_minutes_pass(site: Site) -> None:
    """What waits to be told together with what else fails of its customer is told now: the emails before it are as old as they would be
    then."""
    waiting = "SELECT count(*) FROM notifications WHERE status = 'pending' AND reason = %s"
    if not site.number("notifier", waiting, Reason.WAITS_FOR_OTHERS.value):
        return
    active = "status = 'sending' OR status = 'pending' AND reason IS DISTINCT FROM %s"
    if site.number("notifier", f"SELECT count(*) FROM notifications WHERE {active}", Reason.WAITS_FOR_OTHERS.value):  # fmt: skip
        return
    # Locked in the notifier's own order: in another one the two wait for each other.
    site.rows(
        "notifier",
        "WITH locked AS (SELECT account, invoice_id FROM incidents ORDER BY account, invoice_id FOR UPDATE) "
        "UPDATE incidents SET asked_at = asked_at - %s FROM locked "
        "WHERE (incidents.account, incidents.invoice_id) = (locked.account, locked.invoice_id)",
        GATHER_FOR,
    )
    due = "UPDATE notifications SET due_at = now() WHERE status = 'pending' AND reason = %s"
    site.rows("notifier", due, Reason.WAITS_FOR_OTHERS.value)


def run(site: Site, events: int, tick: Tick = lambda what, done, total: None) -> Found:
    """Observe a storm, go live, accept."""
    with WebhookHost() as host:
        return Run(site, host, events, tick).whole()


def rows(found: Found) -> list[report.Row]:
    """What was measured, in words."""
    storm = found.storm

    def gone(what: str) -> str:
        one = found.gone[what]
        return f"{one.mails}, {one.changes}, {one.hooks}"

    return [
        ("failed invoices, of so many customers", f"{len(storm.owed_by):,}, {len(set(storm.owed_by.values())):,}"),
        ("paid while it observed, paid after the preview, new cards", f"{len(storm.paid_before):,}, {len(storm.paid_after):,}, {len(storm.new_cards):,}"),
        ("seconds until all had failed, and until all was observed", f"{found.seconds['failing']:,.0f}, {found.seconds['observed']:,.0f}"),
        ("mails, writes to Stripe, webhooks to the host while it observed", gone("observed")),
        ("the same by going live", gone("live")),
        ("emails and charges in the preview", f"{found.offered:,}, {found.charges:,}"),
        ("mails by accepting; told in one with others", f"{found.mails:,}; {found.together:,}"),
        ("seconds until the last mail", f"{found.seconds['accepted']:,.0f}"),
        ("writes to Stripe in all", f"{found.gone['accepted'].changes}"),
        ("what went wrongly, twice or not at all", f"{len(found.complaints)}"),
        ("load averages over 1, 5, 15 minutes", found.load),
    ]  # fmt: skip


def main() -> int:
    """Observe, print, write; exit code 1 when anything went that should not, or did not that should."""
    with running("observing", SETTINGS) as site, report.progress() as bar:
        found = run(site, EVENTS, report.ticking(bar))
    title = f"Observing {EVENTS:,} failures, and accepting them"
    aims = [report.at_most("what went wrongly, twice or not at all", 0, len(found.complaints))]
    report.conclude("observe", title, aims, ("", "measured"), rows(found))
    for complaint in found.complaints:
        print(complaint)
    return bool(found.complaints)


if __name__ == "__main__":
    sys.exit(main())
