"""How work that knows nothing of green threads has two things done at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

Answer = TypeVar("Answer")


class RunConcurrently(Protocol):
    """Ask something in the background, while something else is asked; `shared.nameko_ext.side_by_side` has the real one."""

    def __call__(self, ask: Callable[[], Answer]) -> Callable[[], Answer]:
        """Gives what to call for the answer: it waits for it, and raises what `ask` raised."""
        ...
