"""What becomes of an entrypoint's result, and of its failure."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import eventlet
import pytest
from nameko.exceptions import ContainerBeingKilled

from shared.nameko_ext.batching import Overloaded
from shared.nameko_ext.container import CorrelatedContainer
from shared.nameko_ext.http_answers import Later, json_answer
from shared.nameko_ext.web import Http, http


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


class House:
    """A service that finds nothing, and takes its time to say so."""

    name = "house"

    @http("GET", "/nothing")
    def nothing(self, request: Any) -> Later:
        """Nothing."""
        return Later(json_answer(404, {}), time.monotonic() + 0.1)


def test_an_answer_for_later_holds_no_worker() -> None:
    """Twenty clients who find nothing wait side by side, where there is one worker; none is told that there is too much to do."""
    container = CorrelatedContainer(House, {"max_workers": 1})
    (door,) = (one for one in container.entrypoints if isinstance(one, Http))
    request = SimpleNamespace(method="GET", headers={}, path_values={})
    began = time.monotonic()
    clients = [eventlet.spawn(door.handle_request, request) for _ in range(20)]
    eventlet.sleep(0.01)
    assert container.workers.free() == 1
    assert [one.wait().status_code for one in clients] == [404] * 20
    assert 0.1 <= time.monotonic() - began < 1
