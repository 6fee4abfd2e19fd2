"""`portico stats`: true counts of what became of failures, in the terminal and on a page of its own."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from portico.charts import nice_step, page
from portico.figures import bar, duration, money
from services.notifier.handlers import stats as counting
from services.notifier.models import IncidentRow, Notification
from shared.contracts.accounts import OWN, Account, Merchant
from shared.contracts.invoices import Invoice, InvoiceStatus, settlement
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.notifier import STATS
from tests.unit import tables
from tests.unit.cli.conftest import FakeServices, Run

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)
SINCE = NOW - dt.timedelta(days=9)


def ago(**parts: float) -> dt.datetime:
    return NOW - dt.timedelta(**parts)


@pytest.fixture
def counted() -> dict[str, Any]:
    """What the notifier counts: 3 recovered (one in yen, one in part), 1 forgiven, 1 open, 1 lost; one not ours, one too old."""
    database = tables.empty(IncidentRow.metadata)
    rows = (
        # invoice, currency, status, due, paid, failed, closed, mailed, delivered, reason
        ("in_1", "usd", "paid", 1000, 1000, ago(days=5), ago(days=3), True, True, None),
        ("in_2", "jpy", "paid", 500, 500, ago(days=2), ago(days=1, hours=20), True, False, None),
        ("in_3", "usd", "open", 2000, 0, ago(days=1), None, True, True, None),
        (
            "in_4",
            "usd",
            "uncollectible",
            300,
            0,
            ago(days=6),
            ago(days=1),
            False,
            False,
            "the customer has no email address",
        ),
        (
            "in_5",
            "usd",
            "open",
            9000,
            0,
            ago(days=1),
            None,
            False,
            False,
            "not an autopay invoice: the customer pays it by hand",
        ),
        # Let go by a credit note, whole; and in part, the rest paid.
        ("in_7", "eur", "paid", 0, 0, ago(days=2), ago(days=1), True, True, None, 700),
        ("in_8", "eur", "paid", 200, 200, ago(days=2), ago(hours=22), True, True, None, 500),
        ("in_6", "usd", "paid", 9000, 9000, ago(days=30), ago(days=29), True, True, None),
    )
    with database.transaction() as session:
        for row in rows:
            name, currency, status, due, paid, failed, closed, mailed, delivered, reason = row[:10]
            session.add(
                IncidentRow(
                    invoice_id=name,
                    stripe_customer_id="cus_1",
                    status=InvoiceStatus(status).value,
                    currency=currency,
                    amount_due=due,
                    amount_paid=paid,
                    amount_credited=row[10] if len(row) > 10 else 0,
                    opened_at=failed,
                    closed_at=closed,
                )
            )
            session.add(
                Notification(
                    notification_id=f"ntf_{name}",
                    dedupe_key=name,
                    kind="payment_failed",
                    status="suppressed" if reason else "sent",
                    reason=reason,
                    invoice_id=name,
                    created_at=failed,
                    due_at=failed,
                    sent_at=failed if mailed else None,
                    delivered_at=failed if delivered else None,
                )
            )
    with database.reading() as session:
        found = plain(counting.stats(session, SINCE, NOW))
    return json.loads(json.dumps(found))


def test_money_counts_as_the_page_and_the_emails_have_it() -> None:
    """Whatever amounts Stripe names of an invoice that it calls paid: nothing that was let go is recovered."""
    amounts = list(itertools.product((0, 700), (0, 300, 700), (0, 700)))
    for due, paid, credited in amounts:
        database = tables.empty(IncidentRow.metadata)
        known = {"amount_due": due, "amount_paid": paid, "amount_credited": credited}
        with database.transaction() as session:
            session.add(
                IncidentRow(
                    invoice_id="in_1", stripe_customer_id="cus_1", status="paid", currency="usd",
                    opened_at=ago(days=2), closed_at=ago(days=1), **known,
                )
            )  # fmt: skip
            session.add(
                Notification(
                    notification_id="ntf_1", dedupe_key="1", kind="payment_failed", status="sent", invoice_id="in_1",
                    created_at=ago(days=2), due_at=ago(days=2),
                )
            )  # fmt: skip
        with database.reading() as session:
            found = counting.stats(session, SINCE, NOW)
        settled = settlement(Invoice(status="paid", **known))
        assert found.recovered == (0 if settled.is_waived else 1), known
        assert found.currencies[0].recovered_amount == settled.paid, known
        assert (found.median_seconds_to_recover is None) is settled.is_waived, known


def test_each_failed_autopay_invoice_counts_once(counted: dict[str, Any]) -> None:
    """By what became of it; a hand-paid invoice and one from before are none of them."""
    names = ("failed", "mailed", "delivered", "recovered", "forgiven", "open", "lost")
    assert [counted[name] for name in names] == [6, 5, 4, 3, 1, 1, 1]


def test_what_was_let_go_is_no_money_that_came_in(counted: dict[str, Any]) -> None:
    """Stripe calls an invoice paid that a credit note has emptied; the four amounts add up to what failed."""
    euros = counted["currencies"][0]
    amounts = [euros[f"{name}_amount"] for name in ("recovered", "forgiven", "open", "lost")]
    assert (euros["currency"], amounts) == ("eur", [200, 1200, 0, 0])
    for row in counted["currencies"]:
        ends = ("recovered", "forgiven", "open", "lost")
        assert row["failed_amount"] == sum(row[f"{end}_amount"] for end in ends)


def test_money_stays_in_its_currency(counted: dict[str, Any]) -> None:
    """Amounts are summed by currency, never over them."""
    _, yen, dollars = counted["currencies"]
    assert (yen["currency"], yen["recovered_amount"]) == ("jpy", 500)
    assert [dollars[f"{name}_amount"] for name in ("failed", "recovered", "open", "lost")] == [
        3300,
        1000,
        2000,
        300,
    ]


def test_the_median_is_of_those_that_recovered(counted: dict[str, Any]) -> None:
    """Two days, 26 and four hours: the middle one counts, and each stands in its part of the histogram."""
    assert counted["median_seconds_to_recover"] == 26 * 3600
    assert {one["within"]: one["count"] for one in counted["times_to_recover"] if one["count"]} == {
        "under a day": 1,
        "1 to 3 days": 2,
    }


def test_every_day_has_its_place(counted: dict[str, Any]) -> None:
    """Days without a failure are there as zeros, so a chart shows the gap."""
    assert len(counted["days"]) == 10
    assert sum(day["failed"] for day in counted["days"]) == 6


class Outline(HTMLParser):
    """Checks that tags close in order, and gathers what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(counted: dict[str, Any]) -> None:
    """One whole file: no script, no link out, charts inline, and both colour schemes."""
    html = page(STATS.read(counted))
    outline = Outline()
    outline.feed(html)
    assert outline.open == []
    assert not outline.tags & {"script", "link", "img", "iframe"}
    assert not re.search(r"https?://", html)
    assert "svg" in outline.tags
    assert "prefers-color-scheme: dark" in html
    assert "1,000" in html or "$10.00" in html


def test_no_text_of_the_answer_becomes_markup(counted: dict[str, Any]) -> None:
    """Whatever stands where a currency, a day, a time or a span is expected, is text on the page and in attributes."""
    hostile = '"><script>x</script>'
    for row in counted["currencies"]:
        row["currency"] = hostile
    for day in counted["days"]:
        day["day"] = hostile
    for one in counted["times_to_recover"]:
        one["within"] = hostile
    written = page(STATS.read(counted))
    assert "<script" not in written.lower()
    assert written.lower().count("&lt;script&gt;") >= 3


def test_the_page_stands_without_any_failure() -> None:
    """Nothing failed: no division by nothing, and the page says so in numbers."""
    with tables.empty(IncidentRow.metadata).reading() as session:
        found = counting.stats(session, SINCE, NOW)
    assert "invoices failed" in page(found)


def test_the_command_shows_writes_and_speaks_json(
    tmp_path: Path, counted: dict[str, Any], run: Run, services: FakeServices
) -> None:
    """Bars and money for people; a file for you alone with --html; the service's answer with --json."""
    services.answers["notifier", "stats"] = counted
    file = tmp_path / "report.html"
    result = run("stats", "--since", "9d", "--html", str(file))
    assert "23.00 USD" not in result.stdout
    assert "$33.00" in result.stdout
    assert "█" in result.stdout
    assert file.stat().st_mode & 0o777 == 0o600
    told = json.loads(run("stats", "--json").stdout)
    assert told == json.loads(json.dumps(counted).replace("+00:00", "Z"))


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123456, "usd", "$1,234.56"),
        (500, "jpy", "¥500"),
        (1234, "kwd", "KWD\xa01.234"),
        (14900, "isk", "ISK\xa0149"),
        (5, "", "–"),
    ],
)
def test_money_is_written_in_the_currencys_own_unit(amount: int, currency: str, text: str) -> None:
    """Cents, no cents, thousandths."""
    assert money(amount, currency) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (42, "42 s"), (600, "10.0 min"), (30_000, "8.3 h"), (190_000, "2.2 days")],
)
def test_a_length_of_time_has_the_unit_that_fits(seconds: float | None, text: str) -> None:
    """Nobody divides by 3,600 in their head."""
    assert duration(seconds) == text


def test_bars_and_grid_lines_are_in_proportion() -> None:
    """Half is half as long, the least is seen, nothing is nothing; grid lines are round numbers."""
    assert (len(bar(10, 10)), len(bar(5, 10)), bar(1, 10_000), bar(0, 10), bar(0, 0)) == (
        40,
        20,
        "▏",
        "",
        "",
    )
    assert [nice_step(most) for most in (1, 7, 30, 75, 999)] == [1, 2, 10, 20, 500]


def test_each_business_that_has_its_account_to_itself_has_figures_of_its_own() -> None:
    """The same invoice's id on two accounts and on two behalves of one: each counts its own, and all together make the whole."""
    database = tables.empty(IncidentRow.metadata)
    merchants = [
        Merchant(OWN),
        Merchant(Account("acct_1")),
        Merchant(OWN, "acct_2"),
        Merchant(OWN, "acct_3"),
    ]
    with database.transaction() as session:
        for number, merchant in enumerate(merchants, 1):
            whose = {"account": merchant.account, "on_behalf_of": merchant.on_behalf_of}
            invoice = f"in_{number}" if merchant.account == OWN else "in_1"
            session.add(
                IncidentRow(
                    **whose,
                    invoice_id=invoice,
                    stripe_customer_id="cus_1",
                    status="open",
                    currency="eur" if number % 2 else "usd",
                    amount_due=10**number,
                    opened_at=ago(days=1),
                )
            )
            session.add(
                Notification(
                    **whose,
                    notification_id=f"ntf_{number}",
                    dedupe_key=str(number),
                    kind="payment_failed",
                    status="sent",
                    invoice_id=invoice,
                    created_at=ago(days=1),
                    due_at=ago(days=1),
                )
            )
    with database.reading() as session:
        for number, merchant in enumerate(merchants, 1):
            found = counting.stats(session, SINCE, NOW, merchant)
            (money,) = found.currencies
            assert (found.failed, money.failed_amount) == (1, 10**number)
            assert sum(day.failed for day in found.days) == 1
            assert sum(one.count for one in found.mails) == 1
        whole = counting.stats(session, SINCE, NOW)
    amounts = {one.currency: one.failed_amount for one in whole.currencies}
    assert (whole.failed, amounts) == (4, {"eur": 1010, "usd": 10100})


def test_the_command_asks_for_one_business(
    counted: dict[str, Any], run: Run, services: FakeServices
) -> None:
    """By the account that the portal says it has; without one of its own the figures are those of all, which is said."""
    services.answers["notifier", "stats"] = counted
    on = {"business_id": "sunrise", "name": "Sunrise", "account": "acct_1", "on_behalf_of": ""}
    services.answers["portal", "business_accounts"] = [on]
    assert run("stats", "--business", "sunrise", "--json").stderr == ""
    asked = next(given for _, method, given in services.asked if method == "stats")
    assert (asked["account"], asked["on_behalf_of"]) == ("acct_1", "")
    services.answers["portal", "business_accounts"] = [on | {"account": ""}]
    shared = run("stats", "--business", "sunrise", "--json")
    assert "figures of all businesses there" in shared.stderr


@pytest.mark.whole
def test_a_business_s_own_currency_stands_first(
    counted: dict[str, Any], run: Run, services: FakeServices
) -> None:
    """What came in in it stands alone, be it nothing; the others are beside it, never converted."""
    services.answers["notifier", "stats"] = counted
    on = {"business_id": "sunrise", "name": "Sunrise", "account": "acct_1", "on_behalf_of": ""}

    def told(currency: str | None, *words: str) -> str:
        services.answers["portal", "business_accounts"] = [on | {"currency": currency}]
        return " ".join(run("stats", "--business", "sunrise", *words).stdout.split())

    usual = [one["currency"] for one in counted["currencies"]]
    for currency in ("usd", "eur", None):
        ordered = [one["currency"] for one in json.loads(told(currency, "--json"))["currencies"]]
        assert ordered == sorted(usual, key=lambda one: (one != currency, usual.index(one)))
    amounts = {one["currency"]: one["recovered_amount"] for one in counted["currencies"]}
    written = {name: money(amount, name) for name, amount in amounts.items()}
    for own in (*usual, "gbp"):
        beside = ", ".join(text for name, text in written.items() if name != own and amounts[name])
        said = (
            f"money recovered: {written.get(own, '£0.00')} and beside it, not converted: {beside} "
        )
        assert said in told(own) + " "
    assert "beside it" not in told(None)
