"""The pages around connecting a Stripe account: who asks, and what came of it."""

from __future__ import annotations

from babel import Locale

from services.portal.domain.connecting import Outcome
from services.portal.domain.snapshot import Business
from services.portal.models import BusinessRow
from services.portal.web.frame import SELF, Page, draw
from services.portal.web.markup import host_of


def ask(
    row: BusinessRow,
    secret: str,
    locale: Locale,
    *,
    platform: str,
    origins: tuple[str, ...],
    connected: bool,
) -> Page:
    """Who asks the business to connect its account, and what will happen; or that it is done."""
    if connected:
        return outcome(Outcome.DONE, row, locale, platform=platform)
    return draw(
        "connect.html",
        locale=locale,
        business=_business(row),
        form_targets=(SELF, *origins),
        secret=secret,
        platform=platform,
        asker=platform,
        stripe_host=host_of(origins, 0),
    )


def outcome(what: Outcome, row: BusinessRow | None, locale: Locale, *, platform: str) -> Page:
    """What came of an answer of Stripe's. Without `row` nothing is told of a business: whoever looks may be anybody."""
    return draw(
        "connected.html",
        locale=locale,
        business=_business(row) if row is not None else None,
        outcome=what.value,
        platform=platform,
        asker=platform,
    )


def _business(row: BusinessRow) -> Business:
    return Business(
        business_id=row.business_id, name=row.name, logo_url=row.logo_url, color=row.color
    )
