"""What `portico customers welcome` says of a queue that is there, and of the hours in which it rests."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from portico.cli.output import as_moment, console, literal, print_json
from services.notifier.domain.reminders import QuietHours, quiet_for
from shared.clock import utc_now
from shared.contracts.rpc import portal, welcomes
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.modes import BusinessMode
from shared.l10n.dates import zone

TAKES_OFF: Final = "takes those who wait off the queue: ask for them again then"
HELD: Final = {
    "observing": f"the business observed when it was last looked at; going live {TAKES_OFF}",
    "quiet_hours": "quiet hours",
    "portal_unavailable": "the portal does not answer",
    "no_such_business": "the portal knows no such business any more",
    "sending": "what was released before has not gone out yet: portico notifications list --status pending",
    "refused": "refused by the mail provider; one a minute is tried until it takes one",
    "provider": "waits for the mail provider; one a minute is tried until it takes one",
    "before_the_line": "the business has observed since, which took those who waited off the queue: ask again",
}


@dataclass(frozen=True)
class Quiet:
    """The quiet hours of a business."""

    policy: portal.ReminderPolicy | None
    timezone: str | None

    @property
    def hours(self) -> str | None:
        """On a clock, as words; None: it has none."""
        if self.policy is None or not (self.policy.quiet_from and self.policy.quiet_until):
            return None
        return f"from {self.policy.quiet_from} to {self.policy.quiet_until}"

    def last_until(self, now: dt.datetime) -> str | None:
        """Until when they last at the business, on its clock, as words; None: it is day there."""
        if self.hours is None or self.policy is None:
            return None
        start, end = str(self.policy.quiet_from), str(self.policy.quiet_until)
        hours = QuietHours(dt.time.fromisoformat(start), dt.time.fromisoformat(end))
        if not quiet_for(hours, now, zone(self.timezone or "UTC")):
            return None
        return f"until {end} by the business's clock ({self.timezone or 'UTC'})"

    @property
    def sentence(self) -> str:
        """For people: which hold, or that none do and what to do."""
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


def observes(mode: BusinessMode) -> str:
    """That, and what to do."""
    if mode.installation_observes:
        return "the whole installation observes (MODE=observe), and nobody is welcomed before it is live"
    return f"{mode.name} observes, and nobody is welcomed before it is live: portico go-live --business {mode.business_id}"


def show_run(run: welcomes.WelcomeRun, mode: BusinessMode, quiet: Quiet, *, as_json: bool) -> None:
    """How it stands."""
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
        "taken off the queue": run.taken_off,
    }
    for words, count in rows.items():
        if count or words in ("waiting", "sent"):
            out.print(f"  {count:>9,}  {words}")
    held = _held(run, mode, quiet)
    if held is not None:
        out.print(literal(f"Held: {held}."))
    if run.taken_off:
        again = f"portico customers welcome --business {run.business_id}"
        out.print(literal(f"Who was taken off can be asked for again: {again}"))
    if run.waiting and not (mode.observed or run.held == "observing" or _crossed(run, mode)):
        out.print(f"{run.per_hour:,} an hour; {_pace(run, quiet)}.")
        out.print(literal(quiet.sentence))
    if run.per_hour is None and not any(rows.values()):
        out.print("Nobody has been asked for yet.")


def _pace(run: welcomes.WelcomeRun, quiet: Quiet) -> str:
    """When whose turn comes, as far as that can be said."""
    if run.held == "quiet_hours":
        return "what they hold is not made up for"
    if run.held not in (None, "sending"):  # then it is only looked again
        return f"looked at again {as_moment(run.due_at)} (UTC)"
    return f"the next {as_moment(run.due_at)}, the last {as_moment(run.done_at)} (UTC){quiet.adds}"


def _crossed(run: welcomes.WelcomeRun, mode: BusinessMode) -> bool:
    """Whether those who wait were asked for before the business's line, so that none of them is welcomed."""
    line, asked = mode.live_since, run.asked_at
    return run.waiting > 0 and line is not None and asked is not None and asked < line


def _held(run: welcomes.WelcomeRun, mode: BusinessMode, quiet: Quiet) -> str | None:
    """Why nobody's turn comes, as it is known now: the notifier has last looked some minutes ago, perhaps."""
    if run.waiting and mode.observed:
        what = "portico go-live" if mode.installation_observes else "going live"
        return f"{observes(mode)}; {what} {TAKES_OFF}"
    if _crossed(run, mode):
        return (
            "the business has gone live since, which takes those who wait off the queue: ask again"
        )
    if run.held == "quiet_hours":
        if quiet.hours is None:
            return "quiet hours that the business had when it was last looked at"
        until = quiet.last_until(utc_now())
        return (
            f"quiet hours {until or f'where those are who wait: {quiet.hours} by their own clocks'}"
        )
    if run.held is None:
        return None
    return HELD.get(run.held, run.held) + (f" ({run.why})" if run.why else "")
