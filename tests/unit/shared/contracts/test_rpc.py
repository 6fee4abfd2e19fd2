"""What the RPC contract is made of: errors by name, times in two forms, and answers that hide their secrets."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from shared.contracts.rpc import billing, errors, portal
from shared.contracts.rpc.base import Timeline, TimelineStep, UnreadableAnswer, encode, plain
from shared.contracts.rpc.errors import ERRORS, BillingError, InternalError, RpcError, wire_error

AT = dt.datetime(2026, 3, 3, 17, tzinfo=dt.UTC)


@pytest.mark.parametrize("kind", ERRORS.values(), ids=ERRORS)
def test_an_error_without_a_text_says_what_its_class_means(kind: type[RpcError]) -> None:
    """Whoever raises it need not repeat that; a text of their own stands instead."""
    assert str(kind()) == " ".join((kind.__doc__ or "").split())
    assert str(kind("why")) == "why"


def test_what_only_one_service_tells_apart_crosses_as_the_kind_it_is_of() -> None:
    """The nearest class of the contract, with the same text; one that is of none says nothing."""

    class OutOfPaper(errors.StripeRefused):
        """Of nobody's concern outside."""

    class Unheard(BillingError):
        """Of no kind that callers know."""

    told = wire_error(OutOfPaper("A4"))
    assert (type(told), str(told)) == (errors.StripeRefused, "A4")
    assert type(wire_error(Unheard("secret"))) is InternalError
    assert "secret" not in str(wire_error(Unheard("secret")))


def test_a_fault_is_compared_by_class() -> None:
    """A renamed class can't be forgotten at a caller."""
    fault = errors.RemoteFault("UnknownInvoice", "…")
    assert fault.means(errors.InvoiceClosed, errors.UnknownInvoice)
    assert not fault.means(errors.InvoiceClosed)


def test_times_are_written_as_each_service_always_has() -> None:
    """`Z`, and `+00:00` where it was that; in UTC, whatever zone a value has."""
    counts = {"emptied": 0, "deleted": 0}
    erased = billing.ErasureRound(**counts, next=None)
    assert plain(erased) == {**counts, "next": None}
    end = billing.PlannedEnd(ends_at=AT.astimezone(dt.timezone(dt.timedelta(hours=2))))
    assert plain(end)["ends_at"] == "2026-03-03T17:00:00+00:00"
    assert plain({"in_1": billing.InvoiceState(next_payment_attempt=AT)})["in_1"][
        "next_payment_attempt"
    ].endswith("+00:00")
    step = TimelineStep(at=AT, service="portal", step="page", text="…")
    assert plain([step])[0]["at"] == "2026-03-03T17:00:00Z"
    assert plain(Timeline(steps=[step]))["steps"] == [
        {"at": "2026-03-03T17:00:00+00:00", "service": "portal", "step": "page", "text": "…"}
    ]


def test_a_reply_is_one_object() -> None:
    """nameko's own: the result, and the error or null."""
    assert json.loads(encode({"a": [1, None]})) == {"result": {"a": [1, None]}, "error": None}


def test_what_is_secret_is_in_no_repr() -> None:
    """Tracebacks and logs show values; links and addresses of Stripe's pages are not among them."""
    for answer in (
        portal.Link(customer_id="c", url="https://secret", token="secret", generation=1),
        billing.PortalSession(url="https://secret"),
        portal.CancellationLinks(approve="https://secret/a", decline="https://secret/d"),
    ):
        assert "secret" not in repr(answer)


@pytest.mark.parametrize("answer", [None, [], {}, {"url": None}, {"url": 3}, "https://…"])
def test_an_answer_that_is_none_is_one_error(answer: object) -> None:
    """It names the method; whoever called decides what follows."""
    with pytest.raises(UnreadableAnswer, match=r"billing\.create_portal_session"):
        billing.CREATE_PORTAL_SESSION.read(answer)
