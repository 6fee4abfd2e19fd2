"""The portal's part of `portico doctor`: link keys, the public address, and which Stripe customer is whose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from portico.cli.findings import Finding, ask, finding, ok
from portico.figures import few
from services.portal.queries import behalves, link_conflicts, links
from services.portal.settings import Settings
from shared.database import Transactions
from shared.settings import is_loopback

AREA: Final = "links"
WHOSE: Final = "who is whose"
MOST_COUNTED: Final = 1000
MOST_NAMED: Final = 10
MOST_KEYS: Final = 3


def check_links(settings: Settings) -> Iterator[Finding]:
    """The keys that sign links, without showing any of them, and where links lead."""
    keys = [key.reveal() for key in settings.link_keys]
    before = 0
    if len(set(keys)) < len(keys):
        before += 1
        yield finding(
            AREA,
            "links-double",
            "PORTAL_LINK_KEYS holds the same key twice",
            "remove one of them; was a new one meant?",
        )
    if len(keys) > MOST_KEYS:
        before += 1
        yield finding(
            AREA,
            "links-many",
            f"PORTAL_LINK_KEYS holds {len(keys)} keys: links under keys of long ago still open",
            "keep the newest, and the one before while its links are in use",
        )
    if urlsplit(settings.public_url).scheme != "https" and not is_loopback(settings.public_url):
        before += 1
        yield finding(
            AREA,
            "public-http",
            f"PUBLIC_URL is {settings.public_url}: customers' links travel readable",
            "serve the portal with TLS and set an https:// address",
        )
    if not before:
        yield ok(
            AREA,
            "links",
            f"{len(keys)} link key{'s' if len(keys) > 1 else ''}, PUBLIC_URL is right",
        )


def check_whose(database: Transactions) -> Iterator[Finding]:
    """Links to what is no Stripe customer, links that nobody speaks for, evidence that disagrees, and behalves that no business names."""
    with database.reading() as session:
        wrong = links.not_of_stripe(session, MOST_COUNTED)
        unknown = len(links.unknown_links(session, None, 0, MOST_COUNTED))
        conflicts = len(link_conflicts.open_conflicts(session, MOST_COUNTED))
        unnamed = behalves.unnamed(session, MOST_COUNTED)
    if unnamed:
        shown = [f"{one.on_behalf_of} on {one.account or 'your own account'}" for one in unnamed]
        yield ask(
            WHOSE,
            "behalves-unnamed",
            f"Stripe charges on behalf of {_count(len(unnamed))} account{'' if len(unnamed) == 1 else 's'} that no business has: "
            + few(shown, MOST_NAMED)
            + "; such invoices and subscriptions count as those of the businesses that have no on_behalf_of",
            "where each is one business's, give that business its on_behalf_of (docs/operations.md, Stripe accounts)",
        )
    if conflicts:
        yield finding(
            WHOSE,
            "link-conflicts",
            f"{_count(conflicts)} customers or Stripe customers are claimed twice: the later claim is refused",
            "`portico customers evidence cus_…` tells who says what; decide with `portico customers link` or `unlink`",
        )
    if unknown:
        yield ask(
            WHOSE,
            "links-unknown",
            f"{_count(unknown)} links between a customer and a Stripe customer are of unknown source: they were made "
            "before evidence was kept, when a stranger's Checkout could make one",
            "`portico customers evidence --unknown` lists them; confirm each with `portico customers link`, or by import",
        )
    if wrong:
        named = [f"{one.row.external_id} of {one.business_id}" for one in wrong]
        yield finding(
            WHOSE,
            "stripe-ids",
            f"{_count(len(wrong))} customer{' has' if len(wrong) == 1 else 's have'} a Stripe id that is none, so Stripe refuses "
            "what their button asks for: " + few(named, MOST_NAMED),
            "`portico customers link 1001 cus_… --business …` puts one right, `portico customers unlink 1001 --business …` takes "
            "it away; for many, import them with the right ids (`portico customers export` shows all)",
        )
    if not conflicts and not unknown and not wrong:
        yield ok(WHOSE, "links-evidence", "every link rests on evidence, and none is in conflict")


def _count(number: int) -> str:
    return f"at least {number:,}" if number >= MOST_COUNTED else str(number)
