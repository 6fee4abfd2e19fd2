"""A row of docs/situations.md, drawn by the services themselves, and what each of them claims in it."""

from __future__ import annotations

import datetime as dt
import random
import re
from dataclasses import dataclass, field
from typing import Any

from services.notifier.domain.kinds import TO_BUSINESS, Kind
from services.notifier.domain.vocabulary import Status
from services.notifier.models import Notification
from services.portal.domain.notice import State
from tests.unit.stories.house import CUSTOMER, House, Page, Sent
from tests.unit.stories.rows import Row
from tests.unit.stories.steps import GOOD_CARD, live, new_method

COLUMNS = (
    "situation",
    "mail to the customer",
    "mail to the business",
    "page",
    "a new card now",
    "stats",
)
ASKS = (State.CONFIRM, State.STILL_DECLINED, State.DECLINED)


@dataclass(frozen=True)
class Drawn:
    """What came of a row: at its end, and when the customer then chose a good card."""

    house: House
    cells: tuple[str, ...]
    page: Page
    stats: dict[str, Any]
    sent: list[Sent] = field(default_factory=list)
    """Every mail of the story."""
    asked: frozenset[str] = frozenset()
    """Invoices for which the page asks the customer to act."""
    under_way: frozenset[str] = frozenset()
    """Invoices whose payment is under way, as the page says."""
    charged: frozenset[str] = frozenset()
    """Invoices that the new card was charged for."""
    failed: tuple[dict[str, Any], ...] = ()
    """The invoices of which a charge had failed, as they stood at Stripe at the end."""
    dates: frozenset[dt.datetime] = frozenset()
    """When Stripe would really have charged something then."""


def draw(row: Row, order: random.Random | None = None) -> Drawn:
    """Live through a story, look at what everybody says, and let the customer choose a good card. `order`: see `House`."""
    house = House(order=order, **row.account)
    live(house, row.before)
    mails, before = len(house.mails), {one.notification_id: one for one in house.notifier.rows()}
    live(house, row.then)
    page, stats = house.page(), house.stats()
    new = house.mails[mails:]
    unsent = [
        one for one in house.notifier.rows() if _is_unsent(one, before.get(one.notification_id))
    ]
    reasons, observed = (
        [one.reason or "" for one in unsent if _was_observed_for_the_business(one) is is_theirs]
        for is_theirs in (False, True)
    )
    sent, failed = list(house.mails), tuple(dict(one) for one in house.failed_invoices())
    lines = {line.invoice_id or "": line.state for line in page.notice.lines}
    asked, dates = len(house.own_charges), house.real_dates()
    live(house, (new_method(GOOD_CARD),))
    charged = [one.invoice["id"] for one in house.own_charges[asked:]]
    cells = (
        row.title,
        _mails([one for one in new if one.mail.to == CUSTOMER]) or _why_not(reasons),
        _mails([one for one in new if one.mail.to != CUSTOMER]) or _why_not(observed),
        _page(page),
        _charge(house, charged, failed),
        _stats(stats),
    )
    return Drawn(
        house,
        cells,
        page,
        stats,
        sent,
        frozenset(one for one, state in lines.items() if state in ASKS),
        frozenset(one for one, state in lines.items() if state in (State.SETTLING, State.PENDING)),
        frozenset(charged),
        failed,
        dates,
    )


def _is_unsent(now: Notification, before: Notification | None) -> bool:
    """Whether the situation made of this mail one that did not go, or left it so."""
    ended = before is not None and before.finished_at is not None and before.status == now.status
    kept = (Status.SUPPRESSED, Status.PENDING, Status.OBSERVED)
    return bool(now.reason and not ended and now.status in kept and now.sent_at is None)


def _was_observed_for_the_business(one: Notification) -> bool:
    return one.status == Status.OBSERVED and Kind(one.kind) in TO_BUSINESS


def line_of(drawn: Drawn) -> str:
    """The row as Markdown."""
    return "| " + " | ".join(_plain(cell) for cell in drawn.cells) + " |"


def _plain(text: str) -> str:
    text = re.sub(r"\b[A-Z0-9]{8}-\d{4}\b", "…", text)
    return text.replace("|", "\\|").replace("\n", "<br>")


def _mails(sent: list[Sent]) -> str:
    inorder = sorted(sent, key=lambda one: (one.at, one.mail.subject, one.mail.text))
    return "<br>".join(
        f"**{one.mail.subject}**: {_key_sentences(one.mail.text)}" for one in inorder
    )


def _key_sentences(text: str) -> str:
    """The paragraphs between the greeting and the facts."""
    body = text.partition("\n\n")[2].partition("\n\n")[2]
    said = []
    for paragraph in body.split("\n\n"):
        if re.match(r"[A-Z][\w ]+: ", paragraph) or "http" in paragraph or paragraph == "--":
            break
        said.append(paragraph)
    return " ".join(said)


def _why_not(reasons: list[str]) -> str:
    return "none: " + "; ".join(dict.fromkeys(reasons)) if reasons else "—"


def _page(page: Page) -> str:
    lines = page.text.partition("Hello, Maria Lopez\n")[2].partition("\nUpcoming appointments")[0]
    subscription = page.text.partition("\nYour subscription")[2].partition("\nPast appoint")[0]
    head, _, rest = lines.partition("\n")
    ends = re.findall(r"(?:Ended|Ends|Next payment) on [^\n]+", subscription)
    rest = re.sub(r"\nThis page updates by itself\.[^\n]*", "", rest)
    return "<br>".join(filter(None, (f"**{head}**", rest.replace("\n", "<br>"), *ends)))


def _charge(house: House, charged: list[str], failed: tuple[dict[str, Any], ...]) -> str:
    if not charged:
        return "not charged"
    return ", ".join(
        f"charged {house.world.get('invoice', one)['amount_paid'] / 100:.2f}" for one in charged
    )


def _stats(stats: dict[str, Any]) -> str:
    (sums,) = stats["currencies"] or ({},)
    amounts = {
        name: sums.get(f"{name}_amount", 0) for name in ("recovered", "forgiven", "lost", "open")
    }
    return ", ".join(f"{name} {sum_ / 100:.2f}" for name, sum_ in amounts.items() if sum_) or "—"


__all__ = ["COLUMNS", "Drawn", "draw", "line_of"]
