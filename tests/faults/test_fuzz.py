"""The short form of `make fuzz`: a few hundred of each, a fixed seed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from local.servers import own_folder
from tests.faults.fuzz.doors import Doors, Sender, Target
from tests.faults.fuzz.queues import Queues
from tests.faults.fuzz.run import Fuzz, started_system
from tests.faults.system import Servers

MESSAGES, REQUESTS, SEED = 1000, 1000, 1
TARGET = Target("whsec_of_nobody", Sender(), ("A" * 27 + "." + "A" * 43,), ("cus_1",))
NAMES = ["portal.billing-events", "portal.billing-events.dead", "rpc-portal", "rpc.reply-x"]


def test_the_seed_reproduces_the_input() -> None:
    """Of one seed the same number is the same message and, but for its signature, the same request; of another one it is not."""
    first, again, other = (Queues(seed, NAMES, ["cus_1"]) for seed in (1, 1, 2))
    assert [first.letter(n) for n in range(200)] == [again.letter(n) for n in range(200)]
    assert [first.letter(n) for n in range(9)] != [other.letter(n) for n in range(9)]
    shots, same = (
        [Doors(1, TARGET).shot(n) for n in range(200)],
        [Doors(1, TARGET).shot(n) for n in range(200)],
    )
    assert [(one.kind, one.service) for one in shots] == [(one.kind, one.service) for one in same]
    links = [n for n, one in enumerate(shots) if one.kind == "link"]
    assert links
    assert all(shots[n].data == same[n].data for n in links)


@pytest.fixture
def folder() -> Path:
    return own_folder("fuzz")


@pytest.mark.timeout(300)
def test_hostile_input_fells_nothing(folder: Path, servers: Callable[[], Servers]) -> None:
    """Over every door and every queue at once: no process ends, no 5xx but one that says when to come again, memory is flat, every
    queue is read to its end, and a failed charge afterwards is one mail."""
    try:
        with started_system(folder, servers()) as (system, sender):
            found = Fuzz(
                system, sender, messages=MESSAGES, requests=REQUESTS, seed=SEED, patient=False
            ).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{found.table()}\n{found.verdict()}")
    assert found.complaints == {}
