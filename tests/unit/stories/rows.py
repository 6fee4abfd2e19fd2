"""The situations of docs/situations.md: a row is one story, in data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.unit.stories.steps import (
    BAD_CARD,
    Step,
    accepts_what_was_observed,
    another_subscription,
    bank_renews_the_card,
    cancels,
    cancels_at_period_end,
    checks_out,
    collects,
    confirms,
    credits,
    debit_settles,
    declined_next,
    deletes_the_customer,
    disputes,
    gives_it_up,
    goes_live,
    host_sets_and_charges,
    invoice_by_api,
    loses_the_method,
    new_method,
    next_try,
    observes,
    opens,
    opens_the_old_way,
    pauses,
    pays_at_checkout,
    pays_by_debit,
    pays_by_hand,
    pays_outside,
    portico_looks_through_unpaid,
    refunds,
    renewal,
    renewal_fails,
    renewal_fails_later,
    reschedules,
    sends_an_invoice,
    stripe_is_busy,
    takes_the_cancelling_back,
    tries_by_hand,
    tries_it_first,
    until_next_try,
    voids,
    wait,
)

SEPA, ACH = "pm_sepaDebit_success_de", "pm_usBankAccount_success"
SEPA_FAILS, ACH_CLOSED = "pm_sepaDebit_failed_de", "pm_usBankAccount_accountClosed"
NEEDS_BANK = "pm_card_authenticationRequired"


@dataclass(frozen=True)
class Row:
    """One situation: what came before, and the steps whose consequences the table shows."""

    title: str
    before: tuple[Step, ...]
    then: tuple[Step, ...]
    account: dict[str, Any] = field(default_factory=dict)
    """What the business has chosen in Stripe's dashboard."""


def row(title: str, *steps: Step, last: int = 1, **account: Any) -> Row:
    """`last`: how many of the steps are the situation itself."""
    return Row(title, steps[:-last], steps[-last:], account)


OPEN = opens()
FAILED = renewal_fails()
TRIES = (OPEN, FAILED, next_try(), next_try())

GROUPS: dict[str, tuple[Row, ...]] = {
    "A card, try by try": (
        row("The renewal is declined", OPEN, FAILED),
        row("The second try is declined", OPEN, FAILED, next_try()),
        row("The last try is declined; the subscription ends with it", *TRIES, next_try()),
        row(
            "The last try is declined; the subscription stays, unpaid",
            *TRIES,
            next_try(),
            after_last_retry="unpaid",
        ),
        row(
            "The last try is declined; the subscription stays past due",
            *TRIES,
            next_try(),
            wait(minutes=20),
            last=2,
            after_last_retry="past_due",
        ),
        row(
            "The last try is declined; the invoice is given up with it",
            *TRIES,
            next_try(),
            after_last_retry_invoice="uncollectible",
        ),
        row("The second try comes in", OPEN, FAILED, next_try(None)),
        row("The customer's own try with another card, on Stripe's page, is declined two days later", OPEN, FAILED, wait(days=2), tries_by_hand),
        row("The last try was declined, and the next cycle comes in", *TRIES, next_try(), wait(days=16), after_last_retry="past_due"),
    ),
    "Why a card was declined": (
        row("Expired", OPEN, renewal_fails("expired_card")),
        row("Lost", OPEN, renewal_fails("lost_card")),
        row("A wrong number", OPEN, renewal_fails("incorrect_number")),
        row("The permission was withdrawn", OPEN, renewal_fails("revocation_of_authorization")),
        row("Lost, and Stripe's next date has passed", OPEN, renewal_fails("lost_card"), next_try()),
        row("The same, when Portico looks through what is unpaid", OPEN, renewal_fails("lost_card"), next_try(), portico_looks_through_unpaid),
        row(
            "Lost, and Stripe's last date has passed",
            OPEN,
            renewal_fails("lost_card"),
            next_try(),
            next_try(),
            next_try(),
        ),
        row("No payment method at all", OPEN, loses_the_method, renewal),
        row("Declined while Stripe can't be asked", OPEN, stripe_is_busy(), FAILED),
        row("Lost, while Stripe can't be asked", OPEN, stripe_is_busy(), renewal_fails("lost_card")),
    ),
    "The bank wants a confirmation (3-D Secure)": (
        row("It is asked for", OPEN, renewal_fails("authentication_required")),
        row("It is given", OPEN, renewal_fails("authentication_required"), confirms()),
        row("It is refused", OPEN, renewal_fails("authentication_required"), confirms(False)),
        row("Stripe's next date comes without it", OPEN, renewal_fails("authentication_required"), next_try()),
        row("The new card wants one", OPEN, FAILED, new_method(NEEDS_BANK)),
    ),
    "When Stripe tries again": (
        row("The date comes with a later event", OPEN, FAILED, automations=True),
        row("The date is moved earlier", OPEN, FAILED, reschedules(days=1)),
        row("The date is withdrawn", OPEN, FAILED, reschedules()),
        row("The date is withdrawn after the second try", OPEN, FAILED, next_try(), reschedules(), wait(minutes=20), last=2),
        row("The business switches collecting off", OPEN, FAILED, collects(False)),
        row("The business switches it on again", OPEN, FAILED, collects(False), collects(True)),
        row("It does so a while after a new card came", OPEN, FAILED, collects(False), new_method(), wait(hours=1), collects(True), wait(hours=2)),
        row("It was off when the first debit came back, and is switched on again", opens(SEPA), renewal_fails_later, collects(False), debit_settles, collects(True)),
        row("An invoice made by API is declined", OPEN, invoice_by_api),
        row("An invoice is sent, to be paid by hand", OPEN, sends_an_invoice),
        row("An invoice to be paid by hand: the try is declined", OPEN, sends_an_invoice, tries_by_hand),
        row("An invoice to be paid by hand is paid", OPEN, sends_an_invoice, pays_by_hand),
    ),
    "The payment method is replaced": (
        row("A good card", OPEN, FAILED, new_method()),
        row("Another card that is declined", OPEN, FAILED, new_method(BAD_CARD)),
        row("Another card, which the host application charges in the same second: it is declined", OPEN, FAILED, host_sets_and_charges()),
        row("The bank renews the card", OPEN, FAILED, bank_renews_the_card),
        row("The bank renews a card that was saved before there were payment methods", opens_the_old_way, FAILED, bank_renews_the_card),
        row("A good card after the subscription ended unpaid", *TRIES, next_try(), new_method()),
        row("The bank renews the card after the subscription ended unpaid", *TRIES, next_try(), bank_renews_the_card),
        row("A SEPA account: the debit is under way", OPEN, FAILED, new_method(SEPA), wait(minutes=1), last=2),
        row("A SEPA account: the debit comes in", OPEN, FAILED, new_method(SEPA), debit_settles),
        row("A SEPA account: the debit comes back", OPEN, FAILED, new_method(SEPA_FAILS), debit_settles),
        row("A SEPA account, then a good card while the debit is under way", OPEN, FAILED, new_method(SEPA), wait(hours=2), new_method()),
        row("The same, and the debit comes back", OPEN, FAILED, new_method(SEPA_FAILS), wait(hours=2), new_method(), debit_settles),
        row("A US account that is closed", OPEN, FAILED, new_method(ACH_CLOSED), debit_settles),
    ),
    "SEPA debit": (
        row("The renewal comes back", opens(SEPA), renewal_fails()),
        row("The renewal is under way", opens(SEPA), renewal),
        row("The same a day later, when Portico looks through what is unpaid", opens(SEPA), renewal, wait(days=1), portico_looks_through_unpaid),
        row("The renewal comes back, and debits are tried again", opens(SEPA), renewal_fails(), retry_debits=True),
        row(
            "Stripe tries again by itself: the debit is under way",
            opens(SEPA),
            renewal_fails(),
            until_next_try,
            retry_debits=True,
        ),
        row("The customer has it debited on Stripe's page: the debit is under way", opens(SEPA), renewal_fails(), pays_by_debit(SEPA)),
        row("The same while Stripe can't be asked", opens(SEPA), renewal_fails(), stripe_is_busy(), pays_by_debit(SEPA)),
        row("The same, and the debit comes in", opens(SEPA), renewal_fails(), pays_by_debit(SEPA), debit_settles),
        row("The same, and the debit comes back", opens(SEPA), renewal_fails(), pays_by_debit(SEPA_FAILS), debit_settles),
        row("It comes back twice", opens(SEPA), renewal_fails(), next_try(), retry_debits=True),
        row("The permission was withdrawn", opens(SEPA), renewal_fails("debit_not_authorized")),
        row("The first debit fails on day 4", checks_out(SEPA_FAILS), debit_settles),
        row("The first debit is under way", checks_out(SEPA_FAILS)),
    ),
    "US bank account (ACH)": (
        row("The renewal comes back", opens(ACH), renewal_fails()),
        row("The account is closed", opens(ACH), renewal_fails("account_closed")),
        row("The second try comes back", opens(ACH), renewal_fails(), next_try(), retry_debits=True),
        row("The second try comes in", opens(ACH), renewal_fails(), next_try(None), retry_debits=True),
        row("The first debit fails on day 4", checks_out("pm_usBankAccount_insufficientFunds"), debit_settles),
    ),
    "The subscription": (
        row("Cancelled at once, after a failure", OPEN, FAILED, cancels),
        row("Cancelled, then a new card", OPEN, FAILED, cancels, new_method()),
        row("Cancelled, and its invoice is collected after all", OPEN, FAILED, cancels, wait(hours=1), collects(True)),
        row("Cancelled, collected after all, and declined again", OPEN, FAILED, cancels, wait(hours=1), collects(True), next_try()),
        row("Cancelled while a debit is under way, which comes back", opens(SEPA), renewal_fails_later, cancels, wait(days=5)),
        row("To end with the period, after a failure", OPEN, FAILED, cancels_at_period_end),
        row("Going on after all", OPEN, cancels_at_period_end, takes_the_cancelling_back),
        row("Going on after all, after a failure", OPEN, FAILED, cancels_at_period_end, takes_the_cancelling_back),
        row("New invoices are paused, after a failure", OPEN, FAILED, pauses()),
        row("Ended by a dispute about another charge", OPEN, FAILED, disputes, cancel_on_dispute=True),
        row("A dispute about another charge ends nothing", OPEN, FAILED, disputes),
        row("The customer is deleted at Stripe", OPEN, FAILED, deletes_the_customer),
    ),
    "What is due": (
        row("Credited in part", OPEN, FAILED, credits(0.5)),
        row("Credited in part, then the second try fails", OPEN, FAILED, credits(0.5), next_try()),
        row("Credited in part, then paid", OPEN, FAILED, credits(0.5), new_method()),
        row("Credited as a whole", OPEN, FAILED, credits()),
        row("Voided", OPEN, FAILED, voids),
        row("Given up as uncollectible", OPEN, FAILED, gives_it_up),
        row("Given up, then credited in part", OPEN, FAILED, gives_it_up, credits(0.5)),
        row("Given up, then paid by hand", OPEN, FAILED, gives_it_up, pays_by_hand),
        row("Paid outside Stripe", OPEN, FAILED, pays_outside),
        row("Paid by hand", OPEN, FAILED, pays_by_hand),
        row("Paid by a new card, then refunded: the statistics do not hear of it", OPEN, FAILED, new_method(), refunds),
    ),
    "Several invoices": (
        row("A second subscription fails a minute later", OPEN, FAILED, another_subscription, renewal_fails(), wait(minutes=11), last=2),
        row("A second subscription fails the next day", OPEN, FAILED, wait(days=1), another_subscription, renewal_fails()),
        row("Two are owed, and a good card comes", OPEN, FAILED, another_subscription, renewal_fails(), wait(minutes=11), new_method()),
        row("Two are owed, and one is voided", OPEN, FAILED, another_subscription, renewal_fails(), wait(minutes=11), voids),
        row("Two are owed, and one subscription is cancelled", OPEN, FAILED, another_subscription, renewal_fails(), wait(minutes=11), cancels),
    ),
    "At checkout": (
        row("The first payment is declined", checks_out(BAD_CARD)),
        row("The first payment wants a confirmation", checks_out(NEEDS_BANK)),
        row("The first payment was declined, an hour later", checks_out(BAD_CARD), wait(hours=2)),
        row("She is back hours later, and another card is declined", checks_out(BAD_CARD), wait(hours=5), pays_at_checkout(BAD_CARD)),
        row("The same while Stripe can't be asked", checks_out(BAD_CARD), wait(hours=5), stripe_is_busy(), pays_at_checkout(BAD_CARD)),
        row("A free week ends, and the payment is declined", tries_it_first(), declined_next, wait(days=8)),
        row("A free week ends, and there is no payment method", tries_it_first(None), wait(days=8)),
    ),
    "Looking first: the business observes, then goes live": (
        row("The renewal is declined while it observes", OPEN, observes, FAILED),
        row("The second try is declined, too", OPEN, observes, FAILED, next_try()),
        row("Told while it was live, it observes, and the second try is declined", OPEN, FAILED, observes, next_try()),
        row("The last try is declined; the subscription ends with it", OPEN, observes, *TRIES[1:], next_try()),
        row("A new card while it observes", OPEN, observes, FAILED, new_method()),
        row("The second try comes in while it observes", OPEN, observes, FAILED, next_try(None)),
        row("A planned end while it observes", OPEN, observes, cancels_at_period_end),
        row("It goes live", OPEN, observes, FAILED, goes_live, wait(hours=1), last=2),
        row("It goes live, and the second try is declined", OPEN, observes, FAILED, goes_live, next_try()),
        row("It goes live, and the second try comes in", OPEN, observes, FAILED, goes_live, next_try(None)),
        row("It goes live after a new card came", OPEN, observes, FAILED, new_method(), goes_live, wait(hours=1), last=2),
        row("It goes live after a new card came, and the second try is declined", OPEN, observes, FAILED, new_method(BAD_CARD), goes_live, next_try()),
        row("It goes live, and a new card comes then", OPEN, observes, FAILED, goes_live, wait(hours=1), new_method()),
        row("It goes live, and the bank renews the card then", OPEN, observes, FAILED, goes_live, wait(hours=1), bank_renews_the_card),
        row("A person has what was observed sent", OPEN, observes, FAILED, goes_live, accepts_what_was_observed, wait(hours=1), last=2),
        row("Two tries were observed, and a person has both sent", OPEN, observes, FAILED, next_try(), goes_live, accepts_what_was_observed, wait(hours=1), last=2),
        row("Paid before a person has it sent", OPEN, observes, FAILED, goes_live, pays_by_hand, accepts_what_was_observed, wait(hours=1), last=2),
        row("It is paid after a person had it sent", OPEN, observes, FAILED, goes_live, accepts_what_was_observed, new_method()),
    ),
}  # fmt: skip

ROWS: dict[str, Row] = {
    f"{group}: {one.title}": one for group, rows in GROUPS.items() for one in rows
}
