"""A call that another run stands in the way of: one that was killed is waited out, one that lives is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from portico.cli.context import FINDING, Stop
from portico.cli.rpc import Fault
from shared.contracts.rpc.errors import RpcError
from shared.terminal import complain, one_line

POLL_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 150.0
"""Longer than any run keeps what it has without a sign of life."""
ENDS_OF_A_DEAD_ONE: Final = 2
"""A run that was killed while a service worked for it may have its end moved by that once more."""
Answer = TypeVar("Answer")


def when_free(call: Callable[[], Answer], running: type[RpcError], account: str) -> Answer:
    """Make a call that `running` refuses while another run has what it needs; the refusal says until when. That of a run that was killed
    stands, so it is waited for, which is told; that of one that lives moves on. Raises Stop for such a one, Fault, Unavailable."""
    told: set[str] = set()
    end = time.monotonic() + LONGEST_SECONDS
    while True:
        try:
            return call()
        except Fault as fault:
            if not fault.means(running):
                raise
            said = one_line(f"{account}: {fault.message}")
            if not told:
                complain(f"{said}; waiting for that")
            told.add(fault.message)
            if len(told) > ENDS_OF_A_DEAD_ONE or time.monotonic() > end:
                raise Stop(FINDING, said) from None
        time.sleep(POLL_SECONDS)
