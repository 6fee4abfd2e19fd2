"""`portico explain`: what happened to an invoice, a customer, an event or an email, told by the three services."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import typer

from portico.cli.context import FINDING, OK, UNAVAILABLE, Stop, context_of
from portico.cli.options import BusinessOfId
from portico.cli.output import console, literal, print_beside, print_json
from portico.cli.rpc import Caller, Fault, Unavailable, ask
from portico.standing import headline
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account, account_argument, in_account, read_name
from shared.contracts.rpc import billing, notifier, portal
from shared.contracts.rpc.base import Method, Timeline, TimelineStep, plain
from shared.l10n.dates import full_day
from shared.l10n.locales import ENGLISH
from shared.messaging.amqp import BROKER_ERRORS, trouble_of
from shared.messaging.deadletters import DeadLetters
from shared.settings import Reader
from shared.terminal import complain, one_line

MOST_DEAD_LETTERS = 2000
COLOURS = {
    "received": "cyan",
    "deduped": "bright_black",
    "ignored": "bright_black",
    "connected": "bright_black",
    "thin": "yellow",
    "quarantined": "red",
    "closed": "bright_black",
    "not_published": "red",
    "suppressed": "yellow",
    "observed": "yellow",
    "accepted": "magenta",
    "held": "yellow",
    "waiting": "yellow",
    "unconfirmed": "yellow",
    "deferred": "yellow",
    "evidence_refused": "red",
    "link_refused": "red",
    "failed": "red",
    "bounced": "red",
    "dead_letter": "red",
    "sent": "green",
    "delivered": "green",
    "paid": "bold green",
    "retried": "magenta",
    "billing_session": "blue",
    "page": "blue",
    "page_from_mail": "blue",
}


ELSEWHERE: Final = {"invoice": "acct_…/in_…", "event": "acct_…/evt_…"}
"""How what has the same id in any account is named, of an account that is not the installation's own."""


@dataclass
class Story:
    """The steps of all services, and whose they are."""

    subject: str
    """Without its account."""
    kind: str
    account: Account = OWN
    """Of its Stripe ids."""
    steps: list[TimelineStep] = field(default_factory=list)
    customer: portal.TimelineCustomer | None = None
    invoices: set[str] = field(default_factory=set)
    stripe_customers: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    standing: dict[str, portal.InvoiceStanding] = field(default_factory=dict)
    """Where invoices stand, by id: the subject, or what the customer owes."""
    unreachable: list[str] = field(default_factory=list)
    """Who did not answer, so that the story is not whole."""

    def add(self, part: Timeline | portal.Timeline) -> None:
        """Take what one service told."""
        known = {_same(step) for step in self.steps}
        self.steps += [step for step in part.steps if _same(step) not in known]
        self.stripe_customers.update(part.stripe_customers)
        if isinstance(part, portal.Timeline):
            self.customer = self.customer or part.customer
            self.standing |= {one.invoice_id: one for one in part.standing}
        else:
            self.invoices.update(part.invoices)
            self.events.update(part.events)

    def in_trouble(self) -> list[portal.InvoiceStanding]:
        """Where the invoices stand, by id."""
        return sorted(self.standing.values(), key=lambda one: one.invoice_id)

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "subject": self.subject,
            "kind": self.kind,
            "account": self.account,
            "customer": self.customer and plain(self.customer),
            "invoices": sorted(self.invoices),
            "stripe_customers": sorted(self.stripe_customers),
            "standing": [plain(one) for one in self.in_trouble()],
            "steps": [plain(step) for step in in_order(self.steps)],
            "silent": self.unreachable,
        }


CAUSE_TO_EFFECT: Final = (
    *("told", "card_changed", "retried", "paid", "void", "uncollectible"),
    *(
        "received",
        "failed",
        "connected",
        "thin",
        "ignored",
        "quarantined",
        "deduped",
        "queued",
        "published",
        "decided",
    ),
    *(
        "notified",
        "observed",
        "accepted",
        "suppressed",
        "unconfirmed",
        "sent",
        "deferred",
        "bounced",
        "delivered",
    ),
    *("feedback", "told_together", "shown_as_owed"),
    *("page_from_mail", "page", "billing_session", "shown_as_closed"),
)
"""What comes before what, where the clocks don't tell: the webhook that told of a failure before the failure, that before its
email, an email before the click."""
RANK: Final = {step: rank for rank, step in enumerate(CAUSE_TO_EFFECT)}
FOLLOWS: Final = {
    "failed": {"received"},
    "deferred": {"sent"},
    "bounced": {"sent"},
    "paid": {"retried"},
    "delivered": {"sent"},
    "feedback": {"sent"},
    "shown_as_owed": {"failed", "published"},
    "shown_as_closed": {"paid", "void", "uncollectible", "published"},
}
"""Steps that Stripe and SendGrid tell in whole seconds, and what of the same second they came after."""


def in_order(steps: Iterable[TimelineStep]) -> list[TimelineStep]:
    """The steps as they happened. Where a time is in whole seconds, what caused it in that second came before it, and
    what has the very same time stands from cause to effect."""
    placed: list[tuple[dt.datetime, int, TimelineStep]] = []
    for step in sorted(steps, key=_rank):
        at = step.at
        if at.microsecond == 0:
            causes = (when for when, _, one in placed if _is_cause(one, step))
            same = [when for when in causes if when.replace(microsecond=0) == at]
            at = (min if step.step == "failed" else max)(same, default=at)
        placed.append((at, _rank(step), step))
    return [step for _, _, step in sorted(placed, key=lambda one: one[:2])]


def _is_cause(one: TimelineStep, step: TimelineStep) -> bool:
    """Whether a step came before another one of the same second, which Stripe or SendGrid told."""
    if one.step == "told":
        return True
    if one.step not in FOLLOWS.get(step.step, ()) or one.notification_id != step.notification_id:
        return False
    if step.step != "failed":
        return True
    if step.event_id:
        return one.event_id == step.event_id
    return one.object_id == step.object_id  # of a notifier that does not name the event


def _rank(step: TimelineStep) -> int:
    return RANK.get(step.step, len(RANK))


def _same(step: TimelineStep) -> tuple[Any, ...]:
    return (step.at, step.service, step.step, step.text, step.event_id)


def kind_of(subject: str) -> str:
    """What an id is of, by its form."""
    for prefix, kind in (("in_", "invoice"), ("evt_", "event"), ("ntf_", "notification")):
        if subject.startswith(prefix):
            return kind
    return "customer"


def collect(call: Caller, subject: str, business: str | None) -> Story:
    """Ask the services. Raises Fault when a customer is not known; a service that is silent is noted."""
    account, subject = read_name(subject)
    subject = subject.partition("/")[0] if subject.startswith("evt_") else subject
    story = Story(subject, kind_of(subject), account)

    def look(method: Method[Any], **arguments: Any) -> None:
        try:
            story.add(ask(call, method, **arguments, **account_argument(story.account)))
        except Unavailable as error:
            if method.service not in story.unreachable:
                story.unreachable.append(method.service)
                complain(f"{method.service} tells nothing: {one_line(str(error))}")

    if story.kind == "invoice":
        look(billing.STORY, invoice_id=subject)
        look(notifier.STORY, invoice_id=subject, event_ids=sorted(story.events))
        look(portal.STORY, invoice_id=subject)
    elif story.kind == "event":
        look(billing.STORY, event_id=subject)
        look(notifier.STORY, event_id=subject)
    elif story.kind == "notification":
        look(notifier.STORY, notification_id=subject)
        for event_id in sorted(story.events):
            look(billing.STORY, event_id=event_id)
    else:
        _tell_customer(call, story, look, business)
    return story


def _tell_customer(call: Caller, story: Story, look: Any, business: str | None) -> None:
    ids: dict[str, str] = {}
    try:
        found = ask(
            call,
            portal.FIND_CUSTOMER,
            reference=story.subject,
            business_id=business,
            **account_argument(story.account),
        )
        story.account = Account(found.account)
        ids["customer_id"] = found.customer_id
        if found.platform_stripe_customer_id:
            ids["stripe_customer_id"] = found.platform_stripe_customer_id
    except (Fault, Unavailable):
        if not story.subject.startswith("cus_"):
            raise
        ids["stripe_customer_id"] = story.subject
    stripe_id = ids.get("stripe_customer_id")
    if stripe_id:
        look(billing.STORY, stripe_customer_id=stripe_id)
    look(notifier.STORY, event_ids=sorted(story.events), **ids)
    if "customer_id" in ids:
        look(portal.STORY, customer_id=ids["customer_id"])
    else:
        look(portal.STORY, stripe_customer_id=stripe_id)


def add_dead_letters(story: Story, letters: DeadLetters) -> None:
    """Dead letters that name the subject, as they lie there now, at the moment when they were given up where that is known; after
    the replay that brought one back, which is noted when the letter is on its way already."""
    needles = {story.subject} if story.kind != "customer" else story.stripe_customers
    needles |= story.events if story.kind != "customer" else set()
    for letter in letters.look(limit=MOST_DEAD_LETTERS):
        if any(letter.mentions(needle, story.account) for needle in needles):
            replays = (
                step.at
                for step in story.steps
                if step.step == "dead_letter_replayed" and step.event_id == letter.key
            )
            given_up_at = letter.given_up_at or utc_now()
            replayed = f", replayed {letter.replays}x" if letter.replays else ""
            story.steps.append(
                TimelineStep(
                    at=max([given_up_at, *replays]),
                    service=letter.queue.partition(".")[0],
                    step="dead_letter",
                    text=f"now a dead letter of {letter.queue} after {letter.attempts} retries{replayed}: {letter.reason}",
                    event_id=letter.key,
                )
            )


def explain(
    ctx: typer.Context,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="INVOICE|CUSTOMER|EVENT|NOTIFICATION",
            help="in_…, cus_… or Portico's or your own id of a customer, evt_…, ntf_…; Stripe's ids of a connected account as "
            "acct_…/in_….",
        ),
    ],
    business: BusinessOfId = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document instead of a time line.")
    ] = False,
) -> None:
    """Where it stands, then the whole story as a time line: received, deduped, decided, queued, sent, delivered, opened, retried, paid.

    Asks the three services and looks at the dead letters. Times are UTC; what waits or is held now stands at the present, with
    the reason and until when. Ends with 1 when nothing is known, with 3
    when somebody did not answer and the story may lack their part.

    Example: portico explain in_1Nabc
    """
    desk = context_of(ctx)
    with desk.calling() as call:
        story = collect(call, subject, business)
    reader = Reader(desk.environ)
    uri = reader.amqp_uri()
    try:
        if uri is not None and not uri.reveal().startswith("embedded"):
            add_dead_letters(story, DeadLetters(uri.reveal()))
    except BROKER_ERRORS as error:
        story.unreachable.append("dead letters")
        complain(f"dead letters could not be read: {trouble_of(error)}")
    if as_json:
        print_json(story.view())
    elif story.steps:
        show(story)
    if not story.steps and not story.unreachable:
        told = f"nothing is known of this {story.kind}"
        if story.kind in ELSEWHERE and not story.account:
            told += f"; one of another Stripe account is asked for as {ELSEWHERE[story.kind]}"
        raise Stop(FINDING, told)
    raise typer.Exit(UNAVAILABLE if story.unreachable else OK)


def show(story: Story) -> None:
    """The time line for people."""
    out = console()
    who = story.customer
    heading = f"{story.kind} {in_account(story.account, story.subject)}"
    if who:
        heading += f" · customer {who.customer_id} (yours: {who.external_id})"
    out.print(f"[bold]{literal(heading)}[/bold]")
    now = utc_now()
    steps = in_order(story.steps)
    for one in story.in_trouble():
        line = headline(one, steps, now)
        if story.kind == "customer":
            line += f" · {one.number or one.invoice_id}"
        out.print(f"[bold]{literal(line)}[/bold]", soft_wrap=True)
    day = None
    before: dt.datetime | None = None
    for step in steps:
        at = step.at.astimezone(dt.UTC)
        if at.date() != day:
            day = at.date()
            out.print(f"\n[bold]{full_day(day, ENGLISH, year=True)}[/bold] (UTC)")
        colour = COLOURS.get(step.step, "default")
        mark = f"{at:%H:%M:%S} {_pause(before, at):>8}  {literal(step.service):<9}"
        print_beside(out, f"{mark} [{colour}]{literal(step.step):<18}[/{colour}] ", step.text)
        before = at
    others = sorted(story.invoices - {story.subject})
    if others and story.kind != "customer":
        out.print(f"\nMore: portico explain {literal(in_account(story.account, others[0]))}")


def _pause(before: dt.datetime | None, at: dt.datetime) -> str:
    if before is None:
        return ""
    seconds = (at - before).total_seconds()
    if seconds < 1:
        return "" if seconds < 0.001 else f"+{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"+{seconds:.0f} s"
    if seconds < 7200:
        return f"+{seconds / 60:.0f} min"
    return f"+{seconds / 3600:.0f} h" if seconds < 172_800 else f"+{seconds / 86_400:.0f} d"
