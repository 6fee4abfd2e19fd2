"""What becomes of an entrypoint's failure."""

from __future__ import annotations

import pytest
from nameko.exceptions import ContainerBeingKilled

from shared.nameko_ext.batching import Overloaded
from shared.nameko_ext.web import Http


@pytest.mark.parametrize("error", [Overloaded("full"), ContainerBeingKilled()], ids=repr)
def test_what_can_not_be_done_now_is_asked_for_again(error: Exception) -> None:
    """Too much at once, or a process that is about to end: 503 with Retry-After, no error of ours."""
    answer = Http("GET", "/").response_from_exception(error)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
