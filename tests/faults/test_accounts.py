"""The short form of `make faults ACCOUNTS=200`: many Stripe accounts, some with the same ids, while everything dies."""

from __future__ import annotations

import shutil

import pytest

from local.servers import own_folder
from tests.faults.run import run

ACCOUNTS, EVENTS, SEED, STEPS = 20, 300, 16, 6


@pytest.mark.timeout(600)
def test_nothing_is_mixed_up_between_accounts_whatever_dies() -> None:
    """No call on a wrong account, no mail to somebody else's customer of the same id, and the books of each account balance."""
    folder = own_folder("faults")
    try:
        ran = run(folder, EVENTS, SEED, accounts=ACCOUNTS, steps=STEPS, say=print)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(ran.table())
    assert ran.books.complaints() == []
    assert ran.fell == []
    assert ran.ledger.forged_accepted == set()
    assert len({one.account for one in ran.plan.people}) == ACCOUNTS + 1
    assert ran.books.mails > EVENTS / 3
