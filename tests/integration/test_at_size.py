"""`make import-at-size` and `make observe-at-size`, with few: the same runs, on the run's servers. Nothing is timed: that is theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from local.servers import PostgreSQL, RabbitMQ
from tests.bench import importing, observing, report
from tests.bench.at_size import Site

FEW_READS = {"STRIPE_LOOK_RATE": "4"}
"""So that the import takes seconds, and there is somebody to kill."""


@pytest.mark.timeout(300)
def test_an_import_that_is_killed_three_times_is_whole(
    tmp_path: Path, rabbitmq: RabbitMQ, postgres: PostgreSQL, migrated: Callable[[str], str]
) -> None:
    """The command once, billing twice, with a Stripe that says 429 and webhooks all the time: everything is there, and nothing twice."""
    made = Site(
        tmp_path, name="importing", rabbitmq=rabbitmq, postgres=postgres, settings=FEW_READS
    )
    made.stack.migrated = migrated
    with made as site:
        found = importing.run(site, 1500, every=0.7)
    assert found.complaints == []
    assert found.killed == list(importing.KILLS)
    assert found.webhooks["answered"] > 0
    assert len(importing.targets(found)) == 3
    assert all(len(row) == 2 for row in importing.rows(found))


@pytest.mark.timeout(300)
def test_what_was_observed_goes_when_it_is_accepted_and_not_before(
    tmp_path: Path, rabbitmq: RabbitMQ, postgres: PostgreSQL, migrated: Callable[[str], str]
) -> None:
    """While a business observes, and by going live: no mail, no write to Stripe, no webhook. Then the preview, less what was paid since,
    each once; with several invoices of some customers, and new cards."""
    made = Site(
        tmp_path,
        name="observing",
        rabbitmq=rabbitmq,
        postgres=postgres,
        settings=observing.SETTINGS,
    )
    made.stack.migrated = migrated
    with made as site:
        found = observing.run(site, 100)
    assert found.complaints == []
    storm = found.storm
    assert min(map(len, (storm.paid_before, storm.paid_after, storm.new_cards))) > 1
    assert (found.charges > 0, found.together > 0) == (True, True)
    assert all(len(row) == 2 for row in observing.rows(found))


def test_the_page_has_a_place_for_each() -> None:
    """What a run of minutes measures is not lost at its end."""
    page = report.PAGE.read_text()
    for name in ("import", "observe"):
        assert page.count(f"<!-- {name}: begin -->") == page.count(f"<!-- {name}: end -->") == 1
