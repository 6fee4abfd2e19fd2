"""Welcoming a business's customers: asked for, released at a rate, stopped, looked at (docs/adr/0036-the-first-hello.md)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.orm import Session

from services.notifier.domain.addresses import AddressHasher
from services.notifier.domain.keys import welcome_key
from services.notifier.domain.kinds import Kind
from services.notifier.domain.vocabulary import Reason, Status
from services.notifier.domain.welcomes import (
    MOST_TRIES,
    SENDING_PAUSE,
    TRYING,
    Held,
    Lately,
    Pace,
    Pause,
    Standing,
)
from services.notifier.models import Notification, Welcome, WelcomeRun
from services.notifier.ports import Contact
from services.notifier.queries import notifications, suppressions, welcome_emails
from services.notifier.queries import welcomes as queries
from services.notifier.queries.leases import Leased
from services.notifier.queries.notifications import NewNotification
from services.notifier.queries.welcomes import NewWelcome
from shared.contracts.accounts import OWN
from shared.contracts.rpc import welcomes as contract
from shared.l10n.dates import zone


def plan(
    session: Session, recipients: Sequence[contract.WelcomeRecipient], hasher: AddressHasher
) -> list[str]:
    """What asking for these customers would come to, for each; nothing is written."""
    known = queries.known_among(session, {one.customer_id for one in recipients})
    addresses = {one.email: hasher(one.email) for one in recipients if one.email}
    suppressed = suppressions.suppressed_addresses(session, set(addresses.values()))

    queued: set[str] = set()

    def outcome(one: contract.WelcomeRecipient) -> str:
        if one.customer_id in queued:
            return contract.WAITING
        before = known.get(one.customer_id)
        if before is not None and not before.may_be_asked_again:
            return contract.WAITING if before.waits else contract.WELCOMED
        if not one.email:
            return contract.NO_ADDRESS
        if addresses[one.email] in suppressed:
            return contract.SUPPRESSED
        queued.add(one.customer_id)
        return contract.QUEUED

    return [outcome(one) for one in recipients]


def queue(
    session: Session,
    business_id: str,
    recipients: Sequence[contract.WelcomeRecipient],
    per_hour: int,
    now: dt.datetime,
    hasher: AddressHasher,
    live_since: dt.datetime | None = None,
) -> list[str]:
    """Put these customers into the queue, each once, and let it be worked off at this rate; what came of each. Who was asked for before
    the business drew its line waits no more, unless it is asked for them again."""
    run = queries.begin_run(session, business_id, per_hour, now)
    if _is_before_the_line(run, live_since):
        queries.take_off(session, business_id, now)
    outcomes = plan(session, recipients, hasher)
    asked = [one for one, each in zip(recipients, outcomes, strict=True) if each == contract.QUEUED]
    new = [
        NewWelcome(
            customer_id=one.customer_id, business_id=business_id, timezone=one.timezone, now=now
        )
        for one in asked
    ]
    added = queries.add(session, new)
    queries.ask_again(session, {one.customer_id for one in asked} - added, now)
    if run.finished_at is not None:  # what nobody waited for is not made up for
        run.due_at = max(run.due_at, now)
    if run.held not in (None, Held.SENDING.value):  # what held it may have passed
        run.due_at = min(run.due_at, now)
    if run.per_hour != per_hour:
        run.due_at = min(run.due_at, now + Pace(per_hour).apart)
    run.per_hour, run.asked_at = per_hour, max(run.asked_at, now)
    run.finished_at = None  # the loop finds it out where nobody waits
    return outcomes


def _is_before_the_line(run: WelcomeRun, live_since: dt.datetime | None) -> bool:
    """Whether the business has drawn a line since it was last asked for: no wish of before crosses that."""
    return live_since is not None and run.asked_at < live_since


def stop(session: Session, business_id: str, now: dt.datetime) -> contract.StoppedWelcomes:
    """Take those who wait off the queue, and back those who were released and whom no sender has begun with."""
    run = queries.lock_run(session, business_id)
    if run is None:
        return contract.StoppedWelcomes(stopped=0)
    _finish(run, now)
    back = welcome_emails.take_back(session, business_id, now)
    off = queries.take_off(session, business_id, now)
    return contract.StoppedWelcomes(
        stopped=back + off, sending=welcome_emails.begun(session, business_id)
    )


def _finish(run: WelcomeRun, now: dt.datetime, why: Held | None = None) -> int:
    run.finished_at, run.held = now, why.value if why is not None else None
    return 0


def release(
    session: Session, business_id: str, standing: Standing | Pause, now: dt.datetime
) -> int:
    """Write down the emails to the next customers of a business, as many as its rate allows by now; how many. `standing`: what the portal
    says of the business, or why it is put off."""
    run = queries.take_run(session, business_id, now)
    if run is None:
        return 0
    pause = standing if isinstance(standing, Pause) else standing.pause(now)
    if pause is not None:
        return _put_off(run, pause)
    assert isinstance(standing, Standing)
    if _is_before_the_line(run, standing.live_since):
        queries.take_off(session, business_id, now)
        return _finish(run, now, Held.BEFORE_THE_LINE)
    taken = _take(session, run, standing, now)
    if isinstance(taken, Pause):
        return _put_off(run, taken)
    if not taken:
        return _finish(run, now)
    return _write_down(session, business_id, taken, now)


def _put_off(run: WelcomeRun, pause: Pause) -> int:
    run.due_at, run.held = pause.until, pause.why.value
    return 0


def _take(
    session: Session, run: WelcomeRun, standing: Standing, now: dt.datetime
) -> list[str] | Pause:
    """The next customers; none where nobody waits. Or why none is taken though some do."""
    pace = Pace(run.per_hour)
    owed, start = pace.owed(run.due_at, now)
    under_way = welcome_emails.under_way(session, run.business_id)
    lately = _lately(session, run, now)
    most = pace.most_under_way
    room, stuck = most - max(under_way.untried, lately.without_success), None
    if lately.without_success >= most or (run.held in TRYING and not lately.taken):
        # SendGrid takes none: one now and then is released as a try, until it does.
        stuck = lately.why or Held(run.held or Held.SENDING)
        early = lately.newest is not None and now < lately.newest + pace.tried_every
        many = under_way.untried > 0 or under_way.tried >= most + MOST_TRIES
        room = owed = 0 if early or many else 1
    if room <= 0:
        return Pause(now + SENDING_PAUSE, stuck or Held.SENDING)
    awake = None
    if standing.quiet_hours is not None:
        # Who sleeps keeps their place: were they released, they would all be mailed at the same moment of their morning.
        rests = {
            name: standing.sleeps(standing.zone if name is None else zone(name), now)
            for name in queries.zones_waiting(session, run.business_id)
        }
        awake = [name for name, rest in rests.items() if rest is None]
        sleeping = [rest for rest in rests.values() if rest is not None]
        if sleeping and not awake:
            return min(sleeping, key=lambda rest: rest.until)
    taken = queries.next_customers(session, run.business_id, min(owed, room), awake)
    run.due_at, run.held = start + pace.time_for(len(taken)), None
    if stuck is not None and taken:
        run.due_at, run.held = now + max(pace.apart, SENDING_PAUSE), stuck.value
    return taken


def _lately(session: Session, run: WelcomeRun, now: dt.datetime) -> Lately:
    pace = Pace(run.per_hour)
    since, most = now - pace.looked_back, 2 * pace.most_under_way
    return welcome_emails.lately(session, run.business_id, since, now, most)


def _write_down(
    session: Session, business_id: str, customer_ids: Sequence[str], now: dt.datetime
) -> int:
    keys = {customer_id: welcome_key(customer_id) for customer_id in customer_ids}
    new = [
        NewNotification(
            account=OWN,
            dedupe_key=key,
            kind=Kind.WELCOME,
            now=now,
            customer_id=customer_id,
            correlation_id=key,
        )
        for customer_id, key in keys.items()
    ]
    added = notifications.add_notifications(session, new)
    due = welcome_emails.make_due(session, set(keys.values()) - added, now)
    ids = welcome_emails.note_business(session, list(keys.values()), business_id)
    _note_turn(session, {id: ids.get(key) for id, key in keys.items()}, now)
    return len(added) + due


def _note_turn(session: Session, emails: Mapping[str, str | None], now: dt.datetime) -> None:
    """Customers, those of them who wait, have their turn by these emails."""
    for one in queries.lock_customers(session, emails, who_wait=True):
        one.released_at, one.notification_id = now, emails[one.customer_id]


def send_again(session: Session, email: Notification, now: dt.datetime) -> None:
    """Let a welcome that certainly reached nobody go after all, as a person wants it. It is the same email that is made due and not a second
    one: whatever it comes to is what came of that customer's welcome."""
    welcome_emails.make_due(session, [email.dedupe_key], now, welcome_emails.REACHED_NOBODY)
    session.refresh(email)
    _note_turn(session, {email.customer_id or "": email.notification_id}, now)


def lock_told(session: Session, welcomes: Iterable[tuple[Leased, Contact]]) -> dict[str, Welcome]:
    """What is known of those to whom these welcomes go, under all of their ids, by id; of who has one id alone, nothing. Locked in one
    statement for all that are posted together: two senders, each with one of the ids of somebody, take turns here."""
    ids = set()
    for leased, contact in welcomes:
        if len(theirs := _ids_of(leased, contact)) > 1:
            ids |= theirs
    if not ids:
        return {}
    return {one.customer_id: one for one in queries.lock_customers(session, ids)}


def _ids_of(leased: Leased, contact: Contact) -> set[str]:
    return {leased.customer_id or "", contact.customer_id, *contact.merged_ids}


def told_before(
    session: Session,
    leased: Leased,
    contact: Contact,
    known: Mapping[str, Welcome],
    now: dt.datetime,
) -> Reason | None:
    """Why a welcome does not go out: under another id, of a customer who was merged into this one, they were welcomed already. None: it may
    go, and is from now on the welcome under all of their ids. `known`: of `lock_told`."""
    rows = [known[id] for id in _ids_of(leased, contact) if id in known]
    others = [one for one in rows if one.notification_id != leased.notification_id]
    if queries.have_gone(session, others):
        return Reason.WELCOMED_BEFORE
    for one in rows:
        one.released_at = one.released_at or now
        one.notification_id = leased.notification_id
    return None


def look(session: Session, business_id: str, now: dt.datetime) -> contract.WelcomeRun:
    """How the welcoming of a business's customers stands."""
    run, waiting = queries.run_of(session, business_id), queries.waiting(session, business_id)
    counts = queries.by_outcome(session, business_id)
    under_way = sum(counts.get(one, 0) for one in (Status.PENDING, Status.SENDING))
    done_at = None
    if run is not None and waiting:
        done_at = max(run.due_at, now) + Pace(run.per_hour).time_for(waiting - 1)
    return contract.WelcomeRun(
        business_id=business_id,
        per_hour=run.per_hour if run is not None else None,
        asked_at=run.asked_at if run is not None else None,
        waiting=waiting,
        sending=under_way,
        sent=sum(counts.get(one, 0) for one in (Status.SENT, Status.DELIVERED)),
        delivered=counts.get(Status.DELIVERED, 0),
        bounced=counts.get(Status.BOUNCED, 0),
        observed=counts.get(Status.OBSERVED, 0),
        suppressed=counts.get(Status.SUPPRESSED, 0),
        failed=counts.get(Status.FAILED, 0),
        earlier=counts.get(None, 0),
        taken_off=counts.get(queries.TAKEN_OFF, 0),
        held=run.held if run is not None else None,
        why=_said(session, run, now) if run is not None and run.held in TRYING else None,
        due_at=run.due_at if run is not None and waiting else None,
        done_at=done_at,
    )


def _said(session: Session, run: WelcomeRun, now: dt.datetime) -> str | None:
    """What SendGrid said to the newest of a day: those that are put off are repeated for as long."""
    return welcome_emails.lately(
        session, run.business_id, now - dt.timedelta(days=1), now, 100
    ).said
