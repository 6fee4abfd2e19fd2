"""`portico customers erase`: forget a person in all three services and in the broker's dead letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from portico.cli.context import FINDING, Stop, context_of
from portico.cli.options import BusinessOfId, OnlyJson, Yes
from portico.cli.output import confirm, print_json, progress_bar
from portico.cli.rpc import Caller, Fault, ask, pages
from portico.commands import deadletters
from shared.contracts.accounts import OWN, Account, account_argument, read_name
from shared.contracts.rpc import billing, notifier, portal
from shared.contracts.rpc.errors import NotFound
from shared.terminal import say


def erase(
    ctx: typer.Context,
    customer: Annotated[
        str, typer.Argument(metavar="CUSTOMER", help="Portico's id, cus_…, or your own id.")
    ],
    business: BusinessOfId = None,
    yes: Yes = False,
    as_json: OnlyJson = False,
) -> None:
    """Forget a customer: in the portal, in billing's stored events, in the notifier, and in dead letters.

    Delete the customer at Stripe first, or Stripe's next event brings the name back. Of Stripe's events the id and the
    type stay, so that none acts twice; of an address that bounced or complained a hash stays, so that it is not
    written to again. Where a business enrols from Stripe, Stripe customers with the same address who are nobody's are
    forgotten as well, and told: delete those at Stripe too. Stripe, SendGrid, your logs and your backups have their own time limits. Safe to repeat: if it
    was stopped, run it again; by cus_… when the portal has forgotten already.

    Example: portico customers erase cus_Nabc --yes
    """
    with context_of(ctx).calling(timeout=60) as call:
        who = _who(call, customer, business)
        if not yes:
            confirm(f"Forget {customer} for good, in all services?")
        done = _erase(ctx, call, who)
    if as_json:
        print_json(done)
    else:
        say(
            f"Forgotten: {done['notifier']} rows of the notifier, {done['emptied']} bodies and {done['billing']} rows "
            f"of billing, {done['dead_letters']} dead letters, {done['portal']} rows of the portal"
            + (", the customer among them." if done["customer"] else ".")
        )
        if done["same_email"]:
            say(
                f"Stripe has the same address of {', '.join(done['same_email'])}: nobody's here, and what was kept of them went too. Delete "
                "them at Stripe, or where a business enrols from there their next event may bring the address back."
            )


@dataclass(frozen=True, repr=False)
class _Person:
    """Who is forgotten, as far as the portal knows them."""

    account: Account = OWN
    customer_id: str | None = None
    stripe_customer_id: str | None = None
    email: str | None = None
    only_on_behalf_of: str | None = None
    """See `FoundCustomer`: what names the Stripe customer or the address stays then."""
    merged_ids: tuple[str, ...] = ()


def _who(call: Caller, reference: str, business: str | None) -> _Person:
    account, reference = read_name(reference)
    try:
        found = ask(
            call,
            portal.FIND_CUSTOMER,
            reference=reference,
            business_id=business,
            **account_argument(account),
        )
    except Fault as fault:
        if not fault.means(NotFound) or not reference.startswith("cus_") or business:
            raise
        # The portal does not know (any more): the others may. Of a business's alone it can't be told what there is.
        return _Person(account, stripe_customer_id=reference)
    account = Account(found.account)
    return _Person(
        account,
        found.customer_id,
        found.platform_stripe_customer_id,
        found.email,
        found.only_on_behalf_of,
        tuple(found.merged_ids),
    )


def _erase(ctx: typer.Context, call: Caller, who: _Person) -> dict[str, Any]:
    """The portal last: it alone knows which ids belong together, should this be stopped half-way."""
    customer_id, stripe_id = who.customer_id, who.stripe_customer_id
    where = account_argument(who.account)
    ids = {"customer_id": customer_id, "stripe_customer_id": stripe_id, **where}
    done: dict[str, Any] = {"dead_letters": 0, "emptied": 0, "billing": 0}
    shared = who.only_on_behalf_of is not None
    whose = {"on_behalf_of": who.only_on_behalf_of} if shared else {}
    done["notifier"] = ask(call, notifier.ERASE_CUSTOMER, **ids, **whose).deleted
    for merged in who.merged_ids:
        done["notifier"] += ask(call, notifier.ERASE_CUSTOMER, customer_id=merged, **where).deleted
    # Another business's customer has the same id at Stripe, and the same address there.
    own = (customer_id,) if shared else (stripe_id, customer_id, who.email)
    names: tuple[str | None, ...] = (*own, *who.merged_ids)
    marks = [one for one in names if one]
    if not marks:
        raise Stop(FINDING, "nothing to look for")
    with progress_bar() as bar:
        task = bar.add_task("stored events", total=None)
        whom = {"stripe_customer_id": marks[0], "also": marks[1:], **where}
        for step in pages(call, billing.ERASE_CUSTOMER, "inbox:", **whom):
            done["emptied"] += step.emptied
            done["billing"] += step.deleted
            bar.advance(task)
    with deadletters.broker(ctx) as letters:
        for queue in letters.counts():
            gone = letters.discard(
                queue,
                lambda letter: any(letter.mentions(needle, who.account) for needle in marks),
            )
            done["dead_letters"] += len(gone)
    answer = ask(call, portal.ERASE_CUSTOMER, **ids)
    done["customer"], done["portal"] = answer.customer, answer.rows
    done["same_email"] = answer.same_email
    return done
