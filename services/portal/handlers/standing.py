"""How Stripe customers stand with a business: what is known of them, put before the rule (`domain/enrolment.py`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from services.portal.domain.enrolment import Case, Doubt, Match, Standing, judge, own_id
from services.portal.domain.profiles import Pays, Profile, known
from services.portal.handlers import arguments
from services.portal.models import BusinessRow, CustomerRow, StripeProfileRow, merchant_of
from services.portal.queries import behalves, links, profiles
from shared.contracts.accounts import Account, Merchant
from shared.contracts.rpc.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Judged:
    """A Stripe customer, and how it stands with a business."""

    stripe_customer_id: str
    profile: Profile
    standing: Standing
    doubt: Doubt | None
    matches: list[CustomerRow]
    """The business's customers with the same address, but for the one enrolled and those that a person refused."""
    customer: CustomerRow | None
    """Whom it is linked with."""
    address_taken: bool
    """Another customer has the address, or may have it, whatever a person said of the two."""


def email_of(profile: Profile) -> str | None:
    """The address at which a Stripe customer can be written to; None: there is none, or what stands there is none."""
    try:
        return None if profile.email is None else arguments.email("email", profile.email)
    except InvalidArgument:
        return None


def judge_all(
    session: Session, business: BusinessRow, stripe_ids: Collection[str]
) -> dict[str, Judged]:
    """How these Stripe customers stand with a business; those of which nothing is kept for it are left out. In a handful of
    statements, however many they are."""
    merchant, account = merchant_of(business), Account(business.account)
    who = profiles_as_told(session, merchant, stripe_ids)
    emails = {one: email.lower() for one, profile in who.items() if (email := email_of(profile))}
    others, crowded = profiles.stripe_ids_with_email(
        session, account, set(emails.values()), who.keys()
    )
    alike = profiles_as_told(session, merchant, others)
    linked = profiles.linked(session, merchant, [*who, *alike])
    same: dict[str, list[CustomerRow]] = {}
    elsewhere: set[str] = set()
    for row in profiles.customers_with_email(session, account, set(emails.values())):
        if row.business_pk == business.id:
            same.setdefault(row.email.lower(), []).append(row)
        elif not business.on_behalf_of and row.enrolled_at is None:
            # What is charged on a behalf that a business names is that one's; on none, it may be anybody's.
            elsewhere.add(row.email.lower())
    anothers = links.of_other_businesses(
        session, account, business.id, business.business_id, who.keys(), enrolled=False
    )
    own_ids = profiles.own_ids(session, business.id, [own_id(one) for one in who])
    decided = profiles.decisions(session, account, who.keys())
    claimable: dict[str, set[str]] = {}
    for one, profile in (who | alike).items():
        email, owner = email_of(profile), linked.get(one)
        if email is not None and (owner is None or _claimable(owner, business)):
            claimable.setdefault(email.lower(), set()).add(one)
    found = {}
    for one, profile in who.items():
        owner, email = linked.get(one), emails.get(one)
        matches = [row for row in same.get(email or "", []) if row is not owner]
        refused = {
            row.id
            for row in matches
            if (word := decided.get((one, row.public_id))) and word.state == "refused"
        }
        standing, doubt = judge(
            Case(
                linked=owner is not None and not _claimable(owner, business),
                enrolled=owner is not None,
                anothers=one in anothers,
                address_elsewhere=email in elsewhere,
                email=profile.email,
                email_is_one=email is not None,
                email_is_ascii=email is not None and email.isascii(),
                pays=profile.pays is not None,
                id_taken=own_id(one) in own_ids,
                matches=[
                    Match(
                        row.id,
                        row.platform_stripe_customer_id not in (None, one),
                        row.id in refused,
                    )
                    for row in matches
                ],
                rivals=len(claimable.get(email or "", set()) - {one}) + (email in crowded),
            )
        )
        possible = [row for row in matches if row.id not in refused]
        taken = bool(matches) or email in elsewhere or not (email or "").isascii()
        found[one] = Judged(one, profile, standing, doubt, possible, owner, taken)
    return found


def _claimable(owner: CustomerRow, business: BusinessRow) -> bool:
    """Whether the host may claim a customer: it is one whom this business enrolled."""
    return owner.enrolled_at is not None and owner.business_pk == business.id


def profiles_as_told(
    session: Session, merchant: Merchant, stripe_ids: Collection[str]
) -> dict[str, Profile]:
    """What is known of Stripe customers as a merchant's; those of which nothing was told for it are left out."""
    kept = profiles.profiles_of(session, merchant.account, stripe_ids)
    said = {Merchant(merchant.account, one) for rows in kept.values() for one in rows}
    whose = behalves.merchants(session, said)
    shared = behalves.any_named(session, merchant.account)
    return {
        stripe_id: profile
        for stripe_id, rows in sorted(kept.items())
        if (profile := _as_of_merchant(merchant, rows, whose, shared)) is not None
    }


def _as_of_merchant(
    merchant: Merchant,
    rows: Mapping[str, StripeProfileRow],
    whose: Mapping[Merchant, Merchant],
    shared: bool,
) -> Profile | None:
    """A Stripe customer as one of a merchant's, by what is kept of it; None: nothing was told for that one. Where businesses share the
    account by behalves, a saved payment method is saved for any of them."""
    own: list[Profile] = []
    others: list[Profile] = []
    for behalf, row in rows.items():
        theirs = whose[Merchant(merchant.account, behalf)] == merchant
        profile = profiles.profile_of(row)
        if shared and profile.pays == Pays.SAVED_METHOD:
            profile = replace(profile, pays=None, pays_at=None)
        (own if theirs else others).append(profile)
    return known(own, others) if own else None
