"""The short form of `make faults ACCOUNTS=200`: the same run, some hundred events of some Stripe accounts, of which pairs have the
same ids, a fixed seed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest

from local.servers import PostgreSQL, own_folder
from tests.faults.plan import make_plan
from tests.faults.run import Run, run
from tests.faults.stories import Findings, look

EVENTS, ACCOUNTS, SEED, STEPS = 400, 20, 8, 9


@pytest.fixture(scope="module")
def done(with_templates: Callable[[PostgreSQL], None]) -> Iterator[tuple[Run, Findings]]:
    """The run, and what `portico explain` told at its end."""
    folder = own_folder("faults")
    told: list[Findings] = []
    try:
        ran = run(
            folder,
            EVENTS,
            SEED,
            accounts=ACCOUNTS,
            steps=STEPS,
            with_templates=with_templates,
            say=print,
            look=lambda *at: told.append(look(*at)),
        )
        yield ran, told[0]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_seed_reproduces_the_plan() -> None:
    """Two plans of one seed are equal to the last delivery; another seed gives another one."""
    assert make_plan(500, 3) == make_plan(500, 3)
    assert make_plan(500, 3).steps != make_plan(500, 4).steps


@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_is_doubled_whatever_dies(
    done: tuple[Run, Findings],
) -> None:
    """Some hundred webhooks while processes and servers are killed and cut off: the books balance."""
    ran, _ = done
    print(ran.table())
    assert ran.books.complaints() == []
    assert ran.books.deaf == {}
    assert ran.fell == [], "a process ended by itself instead of waiting for what it needs"
    assert ran.ledger.forged_accepted == set()


def test_nothing_is_mixed_up_between_accounts(done: tuple[Run, Findings]) -> None:
    """No call on a wrong account, no mail to somebody else's customer of the same id, in any account, whatever died."""
    ran, _ = done
    assert ran.books.wrong_calls == []
    assert ran.books.wrong_people == []
    assert len({one.account for one in ran.plan.people}) == ACCOUNTS + 1
    assert ran.books.mails > EVENTS / 3


def test_a_host_that_fails_and_dies_hears_of_everything(done: tuple[Run, Findings]) -> None:
    """At least once, signed, and of each object the largest version is what happened last."""
    hooks = done[0].hooks
    assert hooks.complaints() == []
    assert hooks.events > EVENTS / 2
    assert hooks.deaths >= 3
    assert min(hooks.refused, hooks.twice) > EVENTS / 40, "nothing was put to the test"
    assert hooks.out_of_order > 0


def test_explain_tells_the_true_story_of_what_had_most_trouble(
    done: tuple[Run, Findings],
) -> None:
    """Copies of webhooks, tries to send, mails and reasons are as Stripe's and SendGrid's sides know them."""
    _, told = done
    print(f"{len(told.invoices)} stories: {dict(told.steps)}")
    assert told.complaints == []
    assert len(told.invoices) >= 10
    assert {"received", "deduped", "queued", "published", "decided", "notified", "sent"} <= set(
        told.steps
    )


def test_explain_tells_of_a_dead_letter_until_it_is_thrown_away(
    done: tuple[Run, Findings],
) -> None:
    """While it lies, that it lies, and that it was replayed in vain; afterwards, what a person did with it."""
    _, told = done
    lying, back, gone = told.dead_letter
    assert [text.split(":")[0] for text in lying] == ["dead_letter"]
    assert [text.split(":")[0] for text in back] == ["dead_letter_replayed", "dead_letter"]
    assert ["replayed 1x" in text for text in (*lying, back[1])] == [False, True]
    assert [text.split(":")[0] for text in gone] == [
        "dead_letter_replayed",
        "dead_letter_discarded",
    ]
