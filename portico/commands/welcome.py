"""`portico customers welcome`: a business's customers are told of their page by email, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import typer

from portico.cli.context import FINDING, OK, USAGE, Stop, context_of
from portico.cli.output import (
    as_moment,
    confirm,
    console,
    literal,
    print_json,
    print_table,
    progress_bar,
)
from portico.cli.rpc import Caller, ask
from portico.figures import duration, number_of
from services.notifier.domain.kinds import Kind
from services.notifier.domain.welcomes import HIGHEST_RATE, LOWEST_RATE, MOST_AT_ONCE, Pace
from services.portal.domain.people import mask_email
from shared.contracts.rpc import notifier, portal, welcomes
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.modes import BusinessMode
from shared.terminal import say

USUAL_RATE: Final = 500
MOST_SHOWN: Final = 10
"""Customers who are named."""
BUSINESS_LANGUAGE: Final = "business"
"""That of the business, as far as a customer has none of their own."""
WORDS: Final = {
    welcomes.QUEUED: "to be welcomed",
    welcomes.WAITING: "in the queue already",
    welcomes.WELCOMED: "had their turn before",
    welcomes.NO_ADDRESS: "without an email address: left out",
    welcomes.SUPPRESSED: "whose address bounced, or reported our email as spam: left out",
}
TAKES_OFF: Final = "takes those who wait off the queue: ask for them again then"
HELD: Final = {
    "observing": f"the business observed when it was last looked at; going live {TAKES_OFF}",
    "quiet_hours": "quiet hours",
    "portal_unavailable": "the portal does not answer",
    "no_such_business": "the portal knows no such business any more",
    "sending": "what was released before has not gone out yet: portico notifications list --status pending",
    "before_the_line": "the business has observed since, which took those who waited off the queue: ask again",
}


@dataclass(frozen=True)
class Quiet:
    """The quiet hours of a business."""

    policy: portal.ReminderPolicy | None
    timezone: str | None

    @property
    def hours(self) -> str | None:
        """None: it has none."""
        if self.policy is None or not (self.policy.quiet_from and self.policy.quiet_until):
            return None
        return f"from {self.policy.quiet_from} to {self.policy.quiet_until}"

    @property
    def sentence(self) -> str:
        if self.hours is None:
            return (
                "This business has no quiet hours: emails also go out at night. To set them: quiet_from and quiet_until in the "
                "reminder_policy of upsert_business."
            )
        return f"Quiet hours: none goes out {self.hours}, by the business's clock ({self.timezone or 'UTC'}) and by the customer's."

    @property
    def adds(self) -> str:
        """To how long it takes."""
        return "" if self.hours is None else ", and what quiet hours add"

    def view(self) -> dict[str, Any] | None:
        """The same as JSON."""
        if self.hours is None or self.policy is None:
            return None
        return {
            "quiet_from": self.policy.quiet_from,
            "quiet_until": self.policy.quiet_until,
            "timezone": self.timezone or "UTC",
        }


@dataclass
class Plan:
    """What asking for all customers comes to."""

    counts: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    """Of those who are to be welcomed."""
    first: list[dict[str, Any]] = field(default_factory=list)

    @property
    def queued(self) -> int:
        return self.counts[welcomes.QUEUED]

    @property
    def waiting(self) -> int:
        """Those who wait, once they are asked for."""
        return self.queued + self.counts[welcomes.WAITING]

    def add(self, customer: portal.ExportedCustomer, outcome: str) -> None:
        self.counts[outcome] += 1
        if outcome != welcomes.QUEUED:
            return
        self.languages[_language(customer.locale)] += 1
        if len(self.first) < MOST_SHOWN:
            self.first.append(
                {
                    "external_id": customer.external_id,
                    "email": mask_email(customer.email),
                    "locale": customer.locale,
                }
            )

    def view(self, business: str, rate: int, quiet: Quiet) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "business_id": business,
            "customers": self.counts.total(),
            "outcomes": {name: self.counts[name] for name in welcomes.OUTCOMES},
            "languages": dict(self.languages.most_common()),
            "first": self.first,
            "per_hour": rate,
            "seconds": round(Pace(rate).time_for(self.waiting).total_seconds()),
            "quiet_hours": quiet.view(),
        }


def welcome(
    ctx: typer.Context,
    business: Annotated[
        str, typer.Option("--business", metavar="ID", help="Your id of the business.")
    ],
    rate: Annotated[
        int,
        typer.Option(min=LOWEST_RATE, max=HIGHEST_RATE, help="Emails an hour, for all who wait."),
    ] = USUAL_RATE,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show who would be welcomed, and ask for nobody.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Show how it stands.")] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Take those who wait off the queue.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Neither show nor ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Tell a business's customers of their page, by email: each gets one, ever, with their own link.

    Shows who they are and asks first. They are put into a queue, which is worked off at --rate, not in the business's quiet hours and not
    while it observes; what is missed then is not made up for. The email asks for nothing, and stands in front of none about a payment.
    Run it again for customers who came since, for another rate, or where it was cut off: nobody is welcomed twice. How the email looks:
    `portico mail preview welcome`.

    Example: portico customers welcome --business sunrise-cleaning --rate 200
    """
    if preview + status + stop > 1:
        raise Stop(USAGE, "--preview, --status and --stop exclude each other; take one")
    with context_of(ctx).calling(timeout=60) as call:
        (mode,) = ask(call, portal.BUSINESSES_MODES, business_id=business)
        if stop:
            _stop(call, mode, as_json=as_json)
            return
        quiet = _quiet(call, business)
        if status:
            run = ask(call, notifier.WELCOMES, business_id=business)
            _show_run(run, mode, quiet, as_json=as_json)
        elif preview:
            plan = _walk(call, business, rate, dry_run=True)
            if as_json:
                print_json(plan.view(business, rate, quiet) | {"observed": mode.observed})
            else:
                _show_plan(plan, mode, rate, quiet)
        else:
            _begin(call, mode, rate, quiet, yes=yes, as_json=as_json)


def _quiet(call: Caller, business: str) -> Quiet:
    told = ask(call, portal.BUSINESS_CONTACT, business_id=business).business
    return Quiet(told.reminder_policy, told.timezone)


def _begin(
    call: Caller, mode: BusinessMode, rate: int, quiet: Quiet, *, yes: bool, as_json: bool
) -> None:
    business = mode.business_id
    if mode.observed:
        raise Stop(FINDING, f"{_observes(mode)}; nobody was asked for")
    if not yes:
        plan = _walk(call, business, rate, dry_run=True)
        _show_plan(plan, mode, rate, quiet, stderr=as_json)
        if not plan.waiting:
            if as_json:
                print_json(plan.view(business, rate, quiet))
            raise typer.Exit(OK)
        who = number_of(plan.queued, "customer") if plan.queued else "those who wait"
        night = "also at night" if quiet.hours is None else f"but not {quiet.hours}"
        confirm(f"Welcome {who} of {mode.name}, {rate:,} an hour, {night}?")
    done = _walk(call, business, rate, dry_run=False)
    if as_json:
        print_json(done.view(business, rate, quiet))
    elif done.waiting:
        takes = _takes(done.waiting, rate, quiet)
        say(
            f"{number_of(done.queued, 'customer')} asked for, {done.waiting:,} in the queue: {takes}. {quiet.sentence} How it stands: "
            f"portico customers welcome --business {business} --status"
        )
    else:
        say("Nobody is to be welcomed.")


def _walk(call: Caller, business: str, rate: int, *, dry_run: bool) -> Plan:
    """Ask for every customer, page by page; or what would come of it."""
    plan = Plan()
    with progress_bar("count") as bar:
        task = bar.add_task("looked at" if dry_run else "asked for", total=None, count="")
        for page in _pages(call, business):
            if page.total is not None:
                bar.update(task, total=page.total)
            answer = ask(
                call,
                notifier.QUEUE_WELCOMES,
                business_id=business,
                recipients=[_recipient(one) for one in page.customers],
                per_hour=rate,
                dry_run=dry_run,
            )
            for customer, outcome in zip(page.customers, answer.outcomes, strict=True):
                plan.add(customer, outcome)
            done = plan.counts.total()
            bar.update(task, completed=done, count=f"{done:,}")
    return plan


def _pages(call: Caller, business: str) -> Iterator[portal.CustomerExport]:
    after: int | None = 0
    while after is not None:
        page = ask(
            call, portal.EXPORT_CUSTOMERS, business_id=business, after=after, limit=MOST_AT_ONCE
        )
        yield page
        after = page.next


def _recipient(customer: portal.ExportedCustomer) -> dict[str, Any]:
    return {
        "customer_id": customer.customer_id,
        "email": customer.email,
        "timezone": customer.timezone,
    }


def _language(locale: str | None) -> str:
    """The language in which somebody is written to; one that is not spoken here is written to in the business's."""
    from shared.l10n.locales import catalogue_of, parse_locale, speaks

    found = parse_locale(locale) if locale else None
    if found is None or not speaks(found):
        return BUSINESS_LANGUAGE
    return catalogue_of(found).replace("_", "-")


def _named(language: str) -> str:
    return "the business’s" if language == BUSINESS_LANGUAGE else language


def _subject(language: str) -> str:
    from services.notifier.emails.rendering import Renderer
    from services.notifier.emails.samples import sample_letter

    return (
        ""
        if language == BUSINESS_LANGUAGE
        else Renderer().render(sample_letter(Kind.WELCOME, language)).subject
    )


def _show_plan(
    plan: Plan, mode: BusinessMode, rate: int, quiet: Quiet, *, stderr: bool = False
) -> None:
    out = console(stderr=stderr)
    out.print(f"[bold]{literal(mode.name)}[/bold]: {number_of(plan.counts.total(), 'customer')}")
    for name, words in WORDS.items():
        if plan.counts[name]:
            out.print(f"  {plan.counts[name]:>9,}  {words}")
    if plan.queued:
        print_table(
            ("language", "customers", "subject"),
            (
                (_named(language), f"{count:,}", _subject(language))
                for language, count in plan.languages.most_common()
            ),
            stderr=stderr,
        )
        first = ((one["external_id"], one["email"]) for one in plan.first)
        print_table(("the first", "to"), first, stderr=stderr)
    if plan.waiting:
        out.print(f"{number_of(plan.waiting, 'email')}, {_takes(plan.waiting, rate, quiet)}.")
        out.print(literal(quiet.sentence))
        out.print("The email itself: portico mail preview welcome --locale en")
    else:
        out.print("Nobody is to be welcomed.")
    if mode.observed:
        out.print(literal(f"{_observes(mode)}."))


def _takes(mails: int, rate: int, quiet: Quiet) -> str:
    seconds = Pace(rate).time_for(mails).total_seconds()
    return f"{rate:,} an hour: {duration(seconds)}{quiet.adds}"


def _observes(mode: BusinessMode) -> str:
    if mode.installation_observes:
        return "the whole installation observes (MODE=observe), and nobody is welcomed before it is live"
    return f"{mode.name} observes, and nobody is welcomed before it is live: portico go-live --business {mode.business_id}"


def _stop(call: Caller, mode: BusinessMode, *, as_json: bool) -> None:
    stopped = ask(call, notifier.STOP_WELCOMES, business_id=mode.business_id)
    if as_json:
        print_json(stopped)
    else:
        say(
            f"{number_of(stopped.stopped, 'customer')} taken off the queue. Asked for again, they go into it again; whoever was welcomed does not."
        )


def _show_run(run: welcomes.WelcomeRun, mode: BusinessMode, quiet: Quiet, *, as_json: bool) -> None:
    if as_json:
        print_json(plain(run))
        return
    out = console()
    out.print(f"[bold]{literal(mode.name)}[/bold]")
    rows = {
        "waiting": run.waiting,
        "being sent": run.sending,
        "sent": run.sent,
        "  of them delivered": run.delivered,
        "bounced": run.bounced,
        "observed, not sent": run.observed,
        "not sent on purpose": run.suppressed,
        "failed": run.failed,
        "earlier": run.earlier,
    }
    for words, count in rows.items():
        if count or words in ("waiting", "sent"):
            out.print(f"  {count:>9,}  {words}")
    observing = run.waiting > 0 and (mode.observed or run.held == "observing")
    if mode.observed and run.waiting:
        what = "portico go-live" if mode.installation_observes else "going live"
        out.print(literal(f"Held: {_observes(mode)}; {what} {TAKES_OFF}."))
    elif run.held is not None:
        out.print(literal(f"Held: {HELD.get(run.held, run.held)}."))
    if run.waiting and run.per_hour is not None and not observing:
        out.print(
            f"{run.per_hour:,} an hour; the next {as_moment(run.due_at)}, the last {as_moment(run.done_at)} (UTC){quiet.adds}."
        )
        out.print(literal(quiet.sentence))
    elif run.per_hour is None and not any(rows.values()):
        out.print("Nobody was ever asked for.")
