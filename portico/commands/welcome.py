"""`portico customers welcome`: a business's customers are told of their page by email, each once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import typer

from portico.cli.context import FINDING, OK, USAGE, Stop, context_of
from portico.cli.options import Business, OnlyJson
from portico.cli.output import (
    confirm,
    console,
    literal,
    print_json,
    print_table,
    progress_bar,
)
from portico.cli.rpc import Caller, ask, pages
from portico.commands.welcome_status import Quiet, observes, show_run
from portico.figures import duration, number_of
from services.notifier.domain.kinds import Kind
from services.notifier.domain.welcomes import HIGHEST_RATE, LOWEST_RATE, MOST_AT_ONCE, Pace
from services.portal.domain.people import mask_email
from shared.contracts.rpc import notifier, portal, welcomes
from shared.contracts.rpc.modes import BusinessMode
from shared.terminal import say

USUAL_RATE: Final = 500
DEFAULT_LANGUAGE: Final = "en"
MOST_SHOWN: Final = 10
"""Customers who are named."""
WORDS: Final = {
    welcomes.QUEUED: "to be welcomed",
    welcomes.WAITING: "in the queue already",
    welcomes.WELCOMED: "welcomed already",
    welcomes.NO_ADDRESS: "without an email address: left out",
    welcomes.SUPPRESSED: "whose address bounced, or reported our email as spam: left out",
}


@dataclass
class Plan:
    """What asking for all customers comes to."""

    language: str
    """The business's, for customers who have none of their own."""
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
        self.languages[_language(customer.locale) or self.language] += 1
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
    business: Business,
    rate: Annotated[
        int | None,
        typer.Option(
            min=LOWEST_RATE,
            max=HIGHEST_RATE,
            help=f"Emails an hour, for all who wait. Else the rate stays as it is; it begins with {USUAL_RATE}.",
        ),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show who would be welcomed, and ask for nobody.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Show how it stands.")] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Take those who wait off the queue.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Neither show nor ask.")] = False,
    as_json: OnlyJson = False,
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
    if (status or stop) and rate is not None:
        raise Stop(USAGE, "--status and --stop set no rate: leave --rate out")
    if (preview or status) and yes:
        raise Stop(USAGE, "--preview and --status ask for nobody: leave --yes out")
    with context_of(ctx).calling(timeout=60) as call:
        (mode,) = ask(call, portal.BUSINESSES_MODES, business_id=business)
        if stop:
            _stop(call, mode, as_json=as_json)
            return
        about = ask(call, portal.BUSINESS_CONTACT, business_id=business).business
        quiet = Quiet(about.reminder_policy, about.timezone)
        run = ask(call, notifier.WELCOMES, business_id=business)
        if status:
            show_run(run, mode, quiet, as_json=as_json)
            return
        walk = Walk(
            call,
            business,
            rate or run.per_hour or USUAL_RATE,
            _language(about.locale) or DEFAULT_LANGUAGE,
        )
        if not preview:
            _begin(walk, mode, quiet, yes=yes, as_json=as_json)
        elif as_json:
            view = walk.plan(dry_run=True).view(business, walk.rate, quiet)
            print_json(view | {"observed": mode.observed})
        else:
            _show_plan(walk.plan(dry_run=True), mode, walk.rate, quiet)


def _begin(walk: Walk, mode: BusinessMode, quiet: Quiet, *, yes: bool, as_json: bool) -> None:
    business, rate = walk.business, walk.rate
    if mode.observed:
        raise Stop(FINDING, f"{observes(mode)}; nobody was asked for")
    if not yes:
        plan = walk.plan(dry_run=True)
        _show_plan(plan, mode, rate, quiet, stderr=as_json)
        if not plan.waiting:
            if as_json:
                print_json(plan.view(business, rate, quiet))
            raise typer.Exit(OK)
        who = (
            number_of(plan.queued, "customer") if plan.queued else f"the {plan.waiting:,} who wait"
        )
        night = "also at night" if quiet.hours is None else f"but not {quiet.hours}"
        confirm(f"Welcome {who} of {mode.name}, {rate:,} an hour, {night}?")
    done = walk.plan(dry_run=False)
    if as_json:
        print_json(done.view(business, rate, quiet))
    elif done.waiting:
        takes = _takes(done.waiting, rate, quiet)
        say(
            f"{number_of(done.queued, 'customer')} added to the queue, {done.waiting:,} in it: {takes}. {quiet.sentence} How it stands: "
            f"portico customers welcome --business {business} --status"
        )
    else:
        say("Nobody is to be welcomed.")


@dataclass(frozen=True)
class Walk:
    """Through all customers of a business, page by page."""

    call: Caller
    business: str
    rate: int
    language: str

    def plan(self, *, dry_run: bool) -> Plan:
        """Ask for every customer; or what would come of it."""
        plan = Plan(self.language)
        with progress_bar("count") as bar:
            task = bar.add_task("looked at" if dry_run else "asked for", total=None, count="")
            customers = pages(
                self.call,
                portal.EXPORT_CUSTOMERS,
                0,
                business_id=self.business,
                limit=MOST_AT_ONCE,
            )
            for page in customers:
                if page.total is not None:
                    bar.update(task, total=page.total)
                answer = ask(
                    self.call,
                    notifier.QUEUE_WELCOMES,
                    business_id=self.business,
                    recipients=[_recipient(one) for one in page.customers],
                    per_hour=self.rate,
                    dry_run=dry_run,
                )
                for customer, outcome in zip(page.customers, answer.outcomes, strict=True):
                    plan.add(customer, outcome)
                done = plan.counts.total()
                bar.update(task, completed=done, count=f"{done:,}")
        return plan


def _recipient(customer: portal.ExportedCustomer) -> dict[str, Any]:
    return {
        "customer_id": customer.customer_id,
        "email": customer.email,
        "timezone": customer.timezone,
    }


def _language(locale: str | None) -> str | None:
    """The language in which somebody is written to; None: theirs is not known or not spoken here."""
    from shared.l10n.locales import catalogue_of, parse_locale, speaks

    found = parse_locale(locale) if locale else None
    if found is None or not speaks(found):
        return None
    return catalogue_of(found).replace("_", "-")


def _subject(language: str) -> str:
    from services.notifier.emails.rendering import Renderer
    from services.notifier.emails.samples import sample_letter

    return Renderer().render(sample_letter(Kind.WELCOME, language)).subject


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
                (language, f"{count:,}", _subject(language))
                for language, count in plan.languages.most_common()
            ),
            stderr=stderr,
        )
        first = ((one["external_id"], one["email"]) for one in plan.first)
        print_table(("the first", "to"), first, stderr=stderr)
    if plan.waiting:
        out.print(f"{number_of(plan.waiting, 'email')}, {_takes(plan.waiting, rate, quiet)}.")
        out.print(literal(quiet.sentence))
        commonest = max(plan.languages, key=plan.languages.__getitem__, default=plan.language)
        out.print(f"The email itself: portico mail preview welcome --locale {commonest}")
    else:
        out.print("Nobody is to be welcomed.")
    if mode.observed:
        out.print(literal(f"{observes(mode)}."))


def _takes(mails: int, rate: int, quiet: Quiet) -> str:
    seconds = Pace(rate).time_for(mails).total_seconds()
    return f"{rate:,} an hour: {duration(seconds)}{quiet.adds}"


def _stop(call: Caller, mode: BusinessMode, *, as_json: bool) -> None:
    stopped = ask(call, notifier.STOP_WELCOMES, business_id=mode.business_id)
    if as_json:
        print_json(stopped)
    else:
        if stopped.sending:
            say(f"{number_of(stopped.sending, 'email')} begun already: what is begun still goes.")
        say(
            f"{number_of(stopped.stopped, 'customer')} taken off the queue. They can be asked for again; nobody is welcomed twice."
            if stopped.stopped
            else "Nobody waited in the queue."
        )
