"""Draws the pages: pure functions from frozen views to HTML, with the headers that make them safe."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from babel import Locale
from jinja2 import FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from services.portal.domain.cancelling import may_ask
from services.portal.domain.notice import Notice
from services.portal.domain.people import mask_email
from services.portal.domain.snapshot import Appointment, Business, Snapshot, Subscription
from services.portal.domain.subscribed import Standing, next_charge, standing
from services.portal.settings import PLATFORM
from services.portal.texts import Texts, texts_in
from services.portal.web import wording
from services.portal.web.markup import bdi, breakable, host, host_of, ltr, shown, tel, whole
from shared.contracts.prices import next_amount, price
from shared.l10n.locales import catalogue_of
from shared.l10n.palette import Palette, Shades, palette
from shared.templating import TranslatedEnvironment

TEMPLATES: Final = Path(__file__).parents[1] / "templates"
UPCOMING_SHOWN: Final = 8
PAST_SHOWN: Final = 4
"""How many appointments the page shows; it says how many more there are."""
TEXT_BYTES: Final = 2500
"""How much of titles and places each list shows; the page stays under 20 KB."""
SELF: Final = "'self'"
NONE: Final = "'none'"
LONG: Final = 32
"""Names longer than this are set smaller."""


@dataclass(frozen=True, slots=True)
class Page:
    """A drawn page: the HTML and the headers that belong to it."""

    html: str
    headers: tuple[tuple[str, str], ...]


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


def _squeeze(css: str) -> str:
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    css = re.sub(r"\s+", " ", css)
    return re.sub(r"\s*([{};,>])\s*", r"\1", css).replace(";}", "}").strip()


@lru_cache(maxsize=1)
def _stylesheet() -> str:
    return _squeeze((TEMPLATES / "style.css").read_text("utf-8"))


@lru_cache(maxsize=1024)
def _colors(brand: Palette) -> str:
    def rule(shades: Shades) -> str:
        return (
            f":root{{--accent:{shades.text};--button:{shades.button};"
            f"--on-button:{shades.on_button};--edge:{shades.edge}}}"
        )

    return (
        rule(brand.light) + f"@media screen and (prefers-color-scheme:dark){{{rule(brand.dark)}}}"
    )


@lru_cache(maxsize=2048)
def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _initial(name: str) -> str:
    return next((character for character in name if character.isalnum()), "•").upper()


@lru_cache(maxsize=1024)
def _icon(brand: Palette, initial: str) -> str:
    """The tab's icon: the business's initial on its colour."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
        f'<rect width="32" height="32" rx="8" fill="{brand.light.button}"/>'
        '<text x="16" y="22.5" font-family="sans-serif" font-size="18" font-weight="700" '
        f'text-anchor="middle" fill="{brand.light.on_button}">{initial}</text></svg>'
    )
    return "data:image/svg+xml," + quote(svg, safe="/:=' ")


@lru_cache(maxsize=64)
def _environment(catalogue_name: str) -> TranslatedEnvironment:
    """The templates in one language. One environment each: Jinja keeps `gettext` among its globals."""
    texts = texts_in(Locale.parse(catalogue_name))
    environment = TranslatedEnvironment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        finalize=shown,
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        texts.gettext, texts.ngettext, newstyle=True, pgettext=texts.pgettext
    )
    environment.translate_with(texts.gettext)
    environment.globals.update(
        bdi=bdi,
        whole=whole,
        breakable=breakable,
        ltr=ltr,
        tel=tel,
        host=host,
        icon=_drawn_icon,
        long_name=LONG,
        style=Markup(_stylesheet()),  # noqa: S704 (our own file)
    )
    return environment


@lru_cache(maxsize=64)
def _drawn_icon(path: str) -> Markup:
    """One of the page's own pictures; `path` as SVG writes it."""
    return Markup(
        '<svg width="20" height="20" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" '
        'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">'
        '<path d="{}"/></svg>'
    ).format(path)


@lru_cache(maxsize=512)
def _template(catalogue_name: str, name: str) -> Template:
    return _environment(catalogue_name).get_template(name)


def _logo_source(business: Business | None) -> str:
    """The logo's origin, for the policy: the one foreign thing that the page may load."""
    if business is None or not business.logo_url:
        return ""
    parts = urlsplit(business.logo_url)
    return f" {parts.scheme}://{parts.netloc}"


def draw(
    template: str,
    *,
    locale: Locale,
    business: Business | None,
    form_targets: tuple[str, ...] = (),
    refresh_seconds: int | None = None,
    **context: Any,
) -> Page:
    """A template as a page, in one language and one business's colours, with the headers that make it safe."""
    frame = _frame(str(locale), business, form_targets)
    html = _template(catalogue_of(locale), template).render(
        frame=frame, texts=frame.texts, business=business, **context
    )
    if refresh_seconds is None:
        return Page(html, frame.headers)
    return Page(html, (*frame.headers, ("Refresh", str(refresh_seconds))))


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all pages of one business in one language have in common: made once, and kept."""

    texts: Texts
    icon_url: str
    business_initial: str
    colors: Markup
    contact: Markup
    headers: tuple[tuple[str, str], ...]


@lru_cache(maxsize=2048)
def _frame(locale: str, business: Business | None, form_targets: tuple[str, ...]) -> _Frame:
    parsed = Locale.parse(locale)
    texts = texts_in(parsed)
    brand = palette(business.color if business else None)
    style, colors = _stylesheet(), _colors(brand)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_hash(style)} {_hash(colors)}",
            f"img-src data:{_logo_source(business)}",
            # Browsers check the target of the redirect after a form too.
            f"form-action {' '.join(form_targets) or NONE}",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )
    initial = _initial(business.name) if business else ""
    return _Frame(
        texts=texts,
        icon_url=_icon(brand, initial or "•"),
        business_initial=initial,
        colors=Markup(colors),  # noqa: S704 (made of checked #rrggbb only)
        contact=Markup(  # noqa: S704 (drawn by a template that escapes)
            _template(catalogue_of(parsed), "contact.html").render(business=business)
        ),
        headers=(
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", policy),
            ("Content-Language", texts.lang),
        ),
    )


@dataclass(frozen=True, slots=True)
class AppointmentView:
    """An appointment as the page shows it."""

    appointment: Appointment
    month: str
    day: str
    date: str
    hours: str
    iso: str


def _appointments(view: MeView, texts: Texts, *, over: bool) -> list[AppointmentView]:
    days = texts.days(view.snapshot.zone, view.now)
    chosen = [each for each in view.snapshot.appointments if each.over(view.now) is over]
    chosen.sort(key=lambda each: each.starts_at, reverse=over)
    return [
        AppointmentView(
            appointment=each,
            month=days.month(each.starts_at),
            day=str(days.local(each.starts_at).day),
            date=days.short(each.starts_at),
            hours=days.hours(each.starts_at, each.ends_at),
            iso=each.starts_at.isoformat(),
        )
        for each in chosen
    ]


def _that_fit(visits: list[AppointmentView], most: int) -> list[AppointmentView]:
    """The first visits, as many as keep the page small even where every text is as long as it may be."""
    total = 0
    fitting: list[AppointmentView] = []
    for visit in visits[:most]:
        texts = (visit.appointment.title, visit.appointment.location or "")
        total += sum(len(text.encode()) for text in texts)
        if fitting and total > TEXT_BYTES:
            break
        fitting.append(visit)
    return fitting


def me(view: MeView, *, session_origins: tuple[str, ...]) -> Page:
    """A customer's page."""
    texts = texts_in(view.locale)
    upcoming = _appointments(view, texts, over=False)
    past = _appointments(view, texts, over=True)
    shown = _that_fit(upcoming, UPCOMING_SHOWN)
    wish = view.notice.refresh_seconds
    days, asking = texts.days(view.snapshot.zone, view.now), view.notice.asking
    totals = [texts.money(amount, currency) for currency, amount in view.notice.totals.items()]
    return draw(
        "me.html",
        locale=view.locale,
        business=view.snapshot.business,
        form_targets=(SELF, *session_origins),
        refresh_seconds=wish if view.updating else None,
        view=view,
        customer=view.snapshot,
        notice=view.notice,
        lines=view.notice.lines,
        money=texts.money,
        days=days,
        advice=wording.advice(asking, days, texts.gettext, texts.ngettext) if asking else "",
        short=lambda line: wording.short(line, days, texts.gettext),
        total=" + ".join(totals),
        zone_label=texts.zone_label(view.snapshot.zone),
        upcoming=shown,
        more_upcoming=len(upcoming) - len(shown),
        past=_that_fit(past, PAST_SHOWN),
        waits=wish is not None,
        method=lambda method: texts.method(method, view.now.date()),
        purpose=lambda line: texts.several(bdi(line.purpose), line.purpose_more),
        session_host=host_of(session_origins, 0),
        invoice_host=host_of(session_origins, 1),
        bought=[_bought(each, view, texts) for each in view.snapshot.subscriptions],
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


def _bought(subscription: Subscription, view: MeView, texts: Texts) -> _Bought:
    terms, snapshot, now = subscription.terms, view.snapshot, view.now
    said, coming = price(terms), next_amount(terms)
    stands = standing(subscription, snapshot.invoices, now)
    differs = coming is not None and (said is None or coming != said.amount)
    sure = stands is Standing.RENEWS or (
        stands is Standing.TRIAL and differs and subscription.collection_paused is False
    )
    # An invoice that asks for nothing is no payment.
    comes = sure and coming != 0 and (coming is not None or said is None or said.amount != 0)
    currency = terms.currency
    return _Bought(
        subscription=subscription,
        name=subscription.description,
        price=texts.price(said, texts.days(snapshot.zone, now)) if said else None,
        standing=stands,
        charges_at=next_charge(subscription) if comes else None,
        charges=texts.money(coming, currency) if coming and differs and currency else None,
        may_ask=may_ask(subscription, snapshot.business, now),
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
