"""The RPC contract: golden files are what hosts' software and the release before parse; they change only on purpose.

A field that is added to an answer is added to its golden file too. One that is renamed, removed or written in another form
breaks whoever reads it: add a new one beside it instead (`shared/contracts/rpc/__init__.py`).
"""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from scripts.make_docs import rpc_methods
from services.billing.domain.paying import PayOutcome
from services.billing.stripe_events.translation import Status as InboxStatus
from services.notifier.domain.kinds import KINDS, Audience, Kind
from services.notifier.domain.vocabulary import Status
from services.portal.domain.linking import Effect, Reason, Source
from services.portal.domain.notice import State
from shared.contracts.rpc import METHODS, base, billing, notifier, portal
from shared.contracts.rpc.base import Method, Values, plain
from shared.contracts.rpc.errors import ERRORS, InvalidArgument
from shared.nameko_ext.rpc import SafeRpcConsumer, argument_checker
from tests.contract.rpc_world import SERVICES, World, lived

GOLDEN = Path(__file__).parent / "golden" / "rpc"
ON_PURPOSE = (
    "the wire has changed: if a field is new, add it to {}; if it was renamed, removed or is written in another form, "
    "others can't read the answer any more"
)
ABOUT_OTHERS = (
    billing.STRIPE_ACCOUNTS,
    billing.CONNECT_ACCOUNT,
    billing.DISCONNECT_ACCOUNT,
    portal.BUSINESS_ACCOUNTS,
)
WHERE_ASKED = {"payload"}
"""Fields that are left out where nobody asked for them."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?(.*)")

every_method = pytest.mark.parametrize(
    "method", METHODS.values(), ids=lambda method: f"{method.service}.{method.name}"
)


def file_of(method: Method[Any]) -> Path:
    return GOLDEN / f"{method.service}.{method.name}.json"


def golden(method: Method[Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file_of(method).read_text())
    return found


@pytest.fixture(scope="module")
def world() -> World:
    """All three services, each method of which was called."""
    return lived()


@every_method
def test_the_golden_answer_is_read_and_written_as_it_stands(method: Method[Any]) -> None:
    """What the release before answers is understood whole, and this one answers in the same form."""
    told = golden(method)["answer"]
    assert plain(method.read(told)) == told, ON_PURPOSE.format(file_of(method))


def _without_accounts(told: Any) -> Any:
    """An answer as a service of the release before gives it, which names no account."""
    if isinstance(told, list):
        return [_without_accounts(one) for one in told]
    if not isinstance(told, dict):
        return told
    return {name: _without_accounts(one) for name, one in told.items() if name != "account"}


@every_method
def test_an_answer_that_names_no_account_is_about_the_own_one(method: Method[Any]) -> None:
    """The release before answers so, while both run side by side."""
    if method in ABOUT_OTHERS:  # they came with accounts, and tell of others alone
        return
    told = golden(method)["answer"]
    assert method.read(_without_accounts(told)) == method.read(told)


@every_method
def test_the_golden_arguments_are_taken(method: Method[Any]) -> None:
    """What callers of the release before give is understood; what they misspell is named."""
    check = argument_checker(getattr(SERVICES[method.service], method.name))
    given = golden(method)["arguments"]
    assert check((), given)
    with pytest.raises(InvalidArgument, match="misspelt"):
        check((), {**given, "misspelt": 1})


@every_method
def test_the_golden_errors_are_those_that_are_declared(method: Method[Any]) -> None:
    """A caller that knows the release before knows each by its name."""
    told = golden(method)["errors"]
    assert [kind.__name__ for kind in method.errors] == told, ON_PURPOSE.format(file_of(method))


def test_errors_cross_the_wire_by_their_names() -> None:
    """The names are what hosts and older releases compare."""
    names = json.loads((GOLDEN / "errors.json").read_text())
    assert list(ERRORS) == list(names), ON_PURPOSE.format(GOLDEN / "errors.json")
    for name, text in names.items():
        error = ERRORS[name](text)
        answer = json.loads(SafeRpcConsumer._encoded(None, (type(error), error, None)))
        assert answer["result"] is None
        assert (answer["error"]["exc_type"], answer["error"]["value"]) == (name, text)


def test_each_golden_file_is_of_a_method() -> None:
    """None is left over."""
    files = {path.name for path in GOLDEN.glob("*.json")} - {"errors.json"}
    assert files == {file_of(method).name for method in METHODS.values()}


def test_every_method_has_a_contract() -> None:
    """A method without one would answer whatever it likes."""
    served = {
        (service, name) for service, made in SERVICES.items() for name, _ in rpc_methods(made)
    }
    assert served == METHODS.keys()


@every_method
def test_a_method_answers_what_its_contract_says(method: Method[Any]) -> None:
    """The server's annotation and the client's struct are the same."""
    answered = get_type_hints(getattr(SERVICES[method.service], method.name))["return"]
    if method is billing.SUBSCRIPTION_PRICES:  # which has two forms, that its reader takes for one
        assert set(get_args(get_args(answered)[1])) == {
            billing.SubscriptionPrice,
            billing.NoNextInvoice,
        }
    else:
        assert answered == method.answer


@every_method
def test_a_real_answer_is_as_its_golden_file(method: Method[Any], world: World) -> None:
    """It has the same fields, in the same forms of time; and is read, and written again, to the very byte."""
    told = golden(method)["answer"]
    for _, text in world.answers[f"{method.service}.{method.name}"]:
        answer = json.loads(text)["result"]
        if method is billing.SUBSCRIPTION_PRICES and no_next_invoice(answer):
            continue
        if isinstance(told, dict) and typing.get_origin(method.answer) is dict:
            like(list(answer.values()), list(told.values()), method.name)
        else:
            like(answer, told, method.name)
        assert base.encode(method.read(answer)) == text


def no_next_invoice(answer: dict[str, Any]) -> bool:
    """That form is told by `upcoming` alone; its reader has defaults for the rest."""
    (only,) = answer.values()
    read = billing.SUBSCRIPTION_PRICES.read(answer)
    return bool(only == {"upcoming": False} and not next(iter(read.values())).upcoming)


def like(answer: Any, told: Any, place: str) -> None:
    """The answer has the fields of the golden one, and writes times as it does."""
    if isinstance(answer, dict) and isinstance(told, dict):
        assert answer.keys() | WHERE_ASKED == told.keys() | WHERE_ASKED, (
            f"{place}: {answer.keys() ^ told.keys()}: " + ON_PURPOSE.format("its golden file")
        )
        for name, value in answer.items():
            like(value, told.get(name), f"{place}.{name}")
    elif isinstance(answer, list) and isinstance(told, list):
        for one in answer if told else []:
            same = (each for each in told if not isinstance(one, dict) or each.keys() == one.keys())
            like(one, next(same, told[0]), f"{place}[]")
    elif isinstance(answer, str) and isinstance(told, str) and TIME.fullmatch(told):
        assert TIME.fullmatch(answer)[1] == TIME.fullmatch(told)[1], place  # type: ignore[index]


def test_what_is_answered_in_words_is_a_word_of_the_contract(world: World) -> None:
    """An enumeration's words stand in docs/rpc.md."""
    for method in METHODS.values():
        for _, text in world.answers[f"{method.service}.{method.name}"]:
            for field, words, value in worded(method.read(json.loads(text)["result"])):
                assert value in words, f"{method.service}.{method.name}: {field}"


def worded(answer: Any) -> typing.Iterator[tuple[str, tuple[str, ...], str]]:
    """Each field of an answer that is a word, with the words that it may be."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    for one in answer if isinstance(answer, list) else [answer]:
        if not isinstance(one, msgspec.Struct):
            continue
        for name, hint in get_type_hints(type(one), include_extras=True).items():
            value = getattr(one, name, None)
            yield from worded(value)
            for part in (hint, *get_args(hint)):
                for note in getattr(part, "__metadata__", ()):
                    if isinstance(note, Values) and isinstance(value, str):
                        yield f"{type(one).__name__}.{name}", note.words, value


def test_errors_that_are_answered_are_declared(world: World) -> None:
    """Those of a world in which much is asked that can't be."""
    assert world.faults.keys() <= ERRORS.keys()
    assert len(world.faults) > 10


def test_the_contracts_words_are_those_of_the_services() -> None:
    """Which service knows a word is one thing; that the contract has it, too, is another."""

    def words(struct: type, field: str) -> set[str]:
        hint = get_type_hints(struct, include_extras=True)[field]
        notes = [
            note for part in (hint, *get_args(hint)) for note in getattr(part, "__metadata__", ())
        ]
        return {word for note in notes for word in note.words}

    assert words(billing.RecoveryAttempt, "outcome") == set(PayOutcome)
    assert words(billing.InboxEvent, "status") == set(InboxStatus)
    assert words(notifier.Notification, "kind") == set(Kind)
    asked_for = {kind: row.audience for kind, row in KINDS.items() if row.on_request}
    for audience, kinds in (
        (Audience.CUSTOMER, notifier.CustomerKind),
        (Audience.BUSINESS, notifier.BusinessKind),
    ):
        assert set(get_args(kinds)) == {kind for kind, to in asked_for.items() if to is audience}
    assert words(notifier.Notification, "status") == set(Status)
    assert words(portal.Evidence, "effect") == set(Effect)
    assert words(portal.Evidence, "source") == set(Source)
    assert words(portal.EvidenceConflict, "reason") == set(Reason)
    assert words(portal.OwedInvoice, "state") == set(State) - {State.PAID}


@every_method
def test_an_answer_of_a_later_release_is_read(method: Method[Any]) -> None:
    """What is new in it is passed over, wherever it stands."""

    def with_more(value: Any) -> Any:
        if isinstance(value, list):
            return [with_more(one) for one in value]
        if isinstance(value, dict):
            return {name: with_more(one) for name, one in value.items()} | {"added_later": [1]}
        return value

    told = golden(method)["answer"]
    if typing.get_origin(method.answer) is dict:
        later = {key: with_more(one) for key, one in told.items()}
    else:
        later = with_more(told)
    assert method.read(later) == method.read(told)
