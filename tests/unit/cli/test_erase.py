"""`portico customers erase`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from portico.commands import deadletters
from shared.messaging.deadletters import DeadLetter
from tests.unit.cli.conftest import FakeServices, Run
from tests.unit.cli.test_output import letter


def test_a_merged_customer_is_forgotten_under_every_id(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written down before a merge carries the other id alone: the notifier is asked for each, billing and the dead letters are
    searched for all. Stripe customers with the same address are told."""
    old, new = "O" * 22, "N" * 22
    searched: list[bool] = []

    class Letters:
        def __init__(self, uri: str) -> None:
            pass

        def counts(self) -> dict[str, int]:
            return {"notifier.portal-events.dead": 1}

        def discard(self, queue: str, wanted: Callable[[DeadLetter], bool]) -> list[DeadLetter]:
            found = letter(queue=queue, body=f'{{"customer_id":"{old}"}}'.encode())
            searched.append(wanted(found))
            return [found]

    monkeypatch.setattr(deadletters, "DeadLetters", Letters)
    services.answers |= {
        ("portal", "find_customer"): {
            "customer_id": new,
            "platform_stripe_customer_id": "cus_1",
            "email": "m@example.com",
            "only_on_behalf_of": None,
            "account": "",
            "merged_ids": [old],
        },
        ("notifier", "erase_customer"): {"deleted": 2},
        ("billing", "erase_customer"): {"emptied": 1, "deleted": 1, "next": None},
        ("portal", "erase_customer"): {"customer": True, "rows": 3, "same_email": ["cus_7"]},
    }
    done = run("customers", "erase", new, "--yes", environ={"AMQP_URI": "amqp://broker/"})
    assert done.exit_code == 0, done.stderr
    assert "4 rows of the notifier" in done.stdout
    assert "cus_7" in done.stdout
    asked = [
        (service, given) for service, method, given in services.asked if method == "erase_customer"
    ]
    assert asked[:2] == [
        ("notifier", {"customer_id": new, "stripe_customer_id": "cus_1"}),
        ("notifier", {"customer_id": old}),
    ]
    assert asked[2][1]["also"] == [new, "m@example.com", old]
    assert searched == [True]
