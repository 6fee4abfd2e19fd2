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


@pytest.mark.parametrize("method", ["POST", "GET,POST", "DELETE"])
def test_a_door_for_bodies_says_what_it_refuses_without(method: str) -> None:
    """No body is read for somebody of whom nothing is known: such an entrypoint can't even be made."""
    with pytest.raises(ValueError, match="refuse"):
        Http(method, "/")
    assert Http(method, "/", refuse=lambda request: None).method == method
