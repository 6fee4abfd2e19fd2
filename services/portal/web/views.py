"""Draws the pages: pure functions from frozen views to HTML, with the headers that make them safe."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Final, NamedTuple

from babel import Locale
from markupsafe import Markup

from services.portal.domain.cancelling import may_ask
from services.portal.domain.notice import Notice, State
from services.portal.domain.people import mask_email
from services.portal.domain.snapshot import (
    MOST_UPCOMING,
    Appointment,
    Business,
    Snapshot,
    Subscription,
)
from services.portal.domain.subscribed import Standing, next_charge, renews, standing
from services.portal.settings import PLATFORM
from services.portal.texts import Texts, texts_in
from services.portal.web import wording
from services.portal.web.frame import SELF, Page, draw, parts
from services.portal.web.markup import bdi, host_of
from shared.contracts.prices import next_amount, price
from shared.l10n.dates import REMEMBERED

UPCOMING_SHOWN: Final = 8
PAST_SHOWN: Final = 4
"""How many appointments the page shows; it says how many more there are."""
TEXT_BYTES: Final = 2500
"""How much of titles and places each list shows; the page stays under 20 KB."""


@dataclass(frozen=True, slots=True)
class MeView:
    """Everything that a customer's page is drawn from."""

    snapshot: Snapshot
    notice: Notice
    token: str
    locale: Locale
    now: dt.datetime
    came_from: str | None = None
    updating: bool = True
    """False: the customer asked the page to stop updating by itself."""
    platform: str = PLATFORM
    """What the customer knows this installation as."""


class VisitTime(NamedTuple):
    """When an appointment is, as parts of the page."""

    tile: Markup
    """Month and day."""
    day: Markup
    whole: Markup
    """Day and hours."""


@lru_cache(REMEMBERED)
def _visit_time(
    starts_at: dt.datetime, ends_at: dt.datetime | None, texts: Texts, zone: str, this_year: int
) -> VisitTime:
    """Remembered: the visits of many customers are at the same hour, and each takes five of CLDR's patterns."""
    days = texts.days(zone, dt.datetime(this_year, 7, 1, tzinfo=dt.UTC))
    draw, iso, date = parts(texts), starts_at.isoformat(), days.short(starts_at)
    return VisitTime(
        tile=draw.tile(days.month(starts_at), days.local(starts_at).day),
        day=draw.visit_time(iso, date),
        whole=draw.visit_time(iso, date, days.hours(starts_at, ends_at)),
    )


def _appointments(view: MeView) -> tuple[list[Appointment], list[Appointment]]:
    """Upcoming ones by time, and past ones, latest first."""
    upcoming: list[Appointment] = []
    past: list[Appointment] = []
    for each in view.snapshot.appointments:
        (past if each.over(view.now) else upcoming).append(each)
    upcoming.sort(key=attrgetter("starts_at"))
    past.sort(key=attrgetter("starts_at"), reverse=True)
    return upcoming, past


def _that_fit(visits: list[Appointment], most: int) -> list[Appointment]:
    """The first visits, as many as keep the page small even where every text is as long as it may be."""
    total = 0
    for number, visit in enumerate(visits[:most]):
        total += len(visit.title.encode()) + len((visit.location or "").encode())
        if number and total > TEXT_BYTES:
            return visits[:number]
    return visits[:most]


def me(view: MeView, *, session_origins: tuple[str, ...]) -> Page:
    """A customer's page."""
    texts = texts_in(view.locale)
    zone, lines, asking = view.snapshot.zone, view.notice.lines, view.notice.asking
    days = texts.days(zone, view.now)
    upcoming, past = _appointments(view)
    shown = _that_fit(upcoming, UPCOMING_SHOWN)
    wish = view.notice.refresh_seconds
    totals = view.notice.totals if len(asking) > 1 else {}
    bought = [_bought(each, view, texts) for each in view.snapshot.shown_subscriptions]
    states = {one.state for one in asking}
    return draw(
        "me.html",
        locale=view.locale,
        business=view.snapshot.business,
        form_targets=(SELF, *session_origins),
        refresh_seconds=wish if view.updating else None,
        platform=view.platform,
        view=view,
        customer=view.snapshot,
        notice=view.notice,
        lines=lines,
        numbered=list(enumerate(lines, 1)),
        asking=asking,
        missing=bool(asking) and all(one.missing and not one.new_method for one in asking),
        changed=bool(asking) and all(one.new_method for one in asking),
        confirms=states == {State.CONFIRM},
        declined_again=states == {State.STILL_DECLINED},
        tried_again=all(one.tried_again for one in lines),
        money=texts.money,
        days=days,
        advice=wording.advice(
            asking, days, texts.gettext, texts.ngettext, observed=view.notice.observed
        )
        if asking
        else "",
        short=lambda line: wording.short(line, days, texts.gettext),
        total=" + ".join(texts.money(amount, currency) for currency, amount in totals.items()),
        zone_label=texts.zone_label(zone),
        time_of=lambda visit: _visit_time(
            visit.starts_at, visit.ends_at, texts, zone, days.this_year
        ),
        upcoming=shown,
        more_upcoming=len(upcoming) - len(shown),
        uncounted=sum(not one.past(view.now) for one in view.snapshot.appointments)
        >= MOST_UPCOMING,
        past=_that_fit(past, PAST_SHOWN),
        waits=wish is not None,
        method=lambda method: texts.method(method, view.now.date()),
        purpose=lambda line: texts.several(bdi(line.purpose), line.purpose_more),
        session_host=host_of(session_origins, 0),
        invoice_host=host_of(session_origins, 1),
        bought=bought,
        not_all_bought=len(bought) < len(view.snapshot.subscriptions),
        kept=any(each.method_kept for each in bought),
    )


@dataclass(frozen=True, slots=True)
class _Bought:
    """A subscription as the page shows it."""

    subscription: Subscription
    name: str | None
    price: str | None
    standing: Standing
    charges_at: dt.datetime | None
    """When the next payment is, where one is sure to come."""
    charges: str | None
    """How much that will be, where the price doesn't say it."""
    may_ask: bool
    method_kept: bool
    """Its next payment is still taken from another payment method than the new one."""


def _bought(subscription: Subscription, view: MeView, texts: Texts) -> _Bought:
    terms, snapshot, now = subscription.terms, view.snapshot, view.now
    said, coming = price(terms), next_amount(terms)
    stands = standing(subscription, snapshot.invoices, now)
    differs = coming is not None and (said is None or coming != said.amount)
    # An invoice that asks for nothing is no payment. What usage, tiers, a discount leave of it nobody knows before Stripe was asked.
    expected = said is not None and (said.amount or 0) > 0 and not subscription.nothing_due
    comes = expected if coming is None else coming > 0
    # The day on which a trial ends is said anyway, and so is the price.
    told = stands is Standing.TRIAL and not differs
    currency = terms.currency
    return _Bought(
        subscription=subscription,
        name=subscription.description,
        price=texts.price(said, texts.days(snapshot.zone, now)) if said else None,
        standing=stands,
        charges_at=next_charge(subscription, now) if comes and not told else None,
        charges=texts.money(coming, currency) if coming and differs and currency else None,
        may_ask=may_ask(subscription, snapshot.business, now),
        method_kept=subscription.method_kept
        and not snapshot.business.observed
        and renews(subscription),
    )


def unavailable(
    business: Business,
    token: str,
    came_from: str | None,
    locale: Locale,
    origins: tuple[str, ...],
    *,
    invoice_id: str | None = None,
    lasting: bool = False,
) -> Page:
    """Stripe's page can't be opened now; 503. `invoice_id`: it was that invoice's page. `lasting`: trying again
    won't help before somebody at the business has done something."""
    return draw(
        "unavailable.html",
        locale=locale,
        business=business,
        form_targets=(SELF, *origins),
        token=token,
        came_from=came_from,
        invoice_id=invoice_id,
        lasting=lasting,
    )


def replaced(business: Business, token: str, locale: Locale) -> Page:
    """The link is of an old generation: offers to mail a fresh one. Tells nothing about the customer."""
    return draw(
        "replaced.html", locale=locale, business=business, form_targets=(SELF,), token=token
    )


def fresh_link(snapshot: Snapshot, locale: Locale, *, outcome: str) -> Page:
    """The answer to "mail me a fresh link": `sent`, `already` (within the hour) or `failed`."""
    return draw(
        "fresh_link.html",
        locale=locale,
        business=snapshot.business,
        outcome=outcome,
        address=mask_email(snapshot.email),
    )


def page_not_found(locale: Locale) -> Page:
    """The one calm page for all that isn't there; 404."""
    return draw("nothing_here.html", locale=locale, business=None)


def server_error(locale: Locale) -> Page:
    """We ourselves are in trouble; 500 and 503."""
    return draw("trouble.html", locale=locale, business=None)
