"""The table of emails: a kind that is known in one place is known in all of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from babel import Locale
from babel.support import NullTranslations

from scripts import gallery_pages
from scripts.mails_page import LANGUAGES
from services.notifier.domain.kinds import KINDS, Audience, FactName, Kind
from services.notifier.emails.facts import FACTS, OF_ONE_INVOICE, facts
from services.notifier.emails.rendering import TEMPLATES
from services.notifier.emails.samples import sample_letter
from shared.contracts.rpc.notifier import BusinessKind, CustomerKind
from tests.unit.notifier.conftest import RENDERER

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "services/notifier/domain/kinds.py"
EVERY_KIND = pytest.mark.parametrize("kind", list(Kind))
PARTS = {"subject.txt", "body.txt", "body.html"}


def test_every_kind_has_a_row() -> None:
    """`Kind` names what the table describes, and nothing else."""
    assert set(KINDS) == set(Kind)


def test_every_row_has_a_folder_and_every_folder_a_row() -> None:
    """Subject, text and HTML of each kind, and no templates of a kind that is gone."""
    found = {
        folder.name: {part.name for part in folder.iterdir()}
        for folder in TEMPLATES.iterdir()
        if folder.is_dir()
    }
    assert found == {kind.value: PARTS for kind in KINDS}


def test_every_fact_can_be_written_and_is_shown_somewhere() -> None:
    """A fact without its line in `FACTS` would fail when the first email with it is sent."""
    assert {*FACTS, FactName.INVOICES} == set(FactName)
    assert {name for row in KINDS.values() for name in row.facts} == set(FactName)


@EVERY_KIND
def test_the_sample_knows_every_fact_of_its_row(kind: Kind) -> None:
    """So that a preview shows the email whole. Of several invoices each has its own facts."""
    letter = sample_letter(kind)
    shown = {name for name, _ in facts(letter, Locale.parse("en"), NullTranslations())}
    left_out = OF_ONE_INVOICE if letter.lines else {FactName.INVOICES}
    assert shown == set(KINDS[kind].facts) - left_out


@pytest.mark.whole
@pytest.mark.parametrize("language", sorted(set(LANGUAGES) - {"en"}))
@EVERY_KIND
def test_every_language_has_a_subject_of_its_own(kind: Kind, language: str) -> None:
    """A subject without a translation would go out in English."""
    english = RENDERER.render(sample_letter(kind, "en_US")).subject
    assert RENDERER.render(sample_letter(kind, language)).subject != english


@EVERY_KIND
def test_every_kind_stands_in_the_docs(kind: Kind) -> None:
    """`docs/emails.md` has its row, and its subject in each language."""
    page = (ROOT / "docs/emails.md").read_text(encoding="utf-8")
    assert page.count(f"| `{kind.value}` |") == 1 + len(LANGUAGES), "make docs"


@pytest.mark.whole
def test_the_gallery_draws_every_kind() -> None:
    """For screenshots and for the checks of accessibility."""
    assert {
        f"email-{kind.value.replace('_', '-')}" for kind in Kind
    } <= gallery_pages.emails().keys()


@EVERY_KIND
def test_somebody_sends_every_kind(kind: Kind) -> None:
    """Another service may ask for it, or a rule or a handler names it."""
    senders = [
        path.read_text(encoding="utf-8")
        for room in ("domain", "handlers", "workflows")
        for path in (ROOT / "services/notifier" / room).glob("*.py")
        if path != TABLE
    ]
    assert KINDS[kind].on_request or any(f"Kind.{kind.name}" in source for source in senders)


def _kinds_listed(tree: ast.AST) -> Iterator[tuple[int, list[str]]]:
    """Where a source lists kinds by hand, and which."""
    for node in ast.walk(tree):
        listed: list[ast.expr | None] = []
        if isinstance(node, ast.Set | ast.List | ast.Tuple):
            listed = [*node.elts]
        elif isinstance(node, ast.Dict):
            listed = [*node.keys]
        named = [
            text.removeprefix("Kind.")
            for one in listed
            if one is not None
            for text in [ast.unparse(one).strip("'")]
            if text in list(Kind) or text.removeprefix("Kind.") in Kind.__members__
        ]
        if named:
            yield getattr(node, "lineno", 0), named


@pytest.mark.whole
def test_nobody_else_lists_kinds() -> None:
    """What holds for several kinds is a column of the table: a list elsewhere is what a new kind is forgotten in. Two are a
    rule about these two."""
    sources = {
        path.relative_to(ROOT): path.read_text(encoding="utf-8")
        for room in ("services/notifier", "portico", "scripts", "sandbox", "tests/faults")
        for path in (ROOT / room).rglob("*.py")
        if path != TABLE
    }
    found = {
        f"{path}:{line}": named
        for path, source in sources.items()
        if sum(kind.value in source or f"Kind.{kind.name}" in source for kind in Kind) > 2
        for line, named in _kinds_listed(ast.parse(source))
        if len(named) > 2
    }
    assert found == {}


def test_the_values_never_change() -> None:
    """Rows, events and templates of the release before know kinds by these words."""
    assert {
        "payment_failed",
        "payment_reminder",
        "payment_last_attempt",
        "payment_action_required",
        "payments_failed",
        "payment_recovered",
        "fresh_link",
        "cancellation_approved",
        "cancellation_declined",
        "customer_unreachable",
        "customer_recovered",
        "cancellation_requested",
        "subscription_ending",
        "cancellation_withdrawn",
        "collection_ended",
    } <= set(Kind)


def test_what_other_services_may_ask_for() -> None:
    """What the release before could ask for can be asked for; the contract has no kind that goes to the other reader."""

    def requestable(audience: Audience) -> set[Kind]:
        return {kind for kind, row in KINDS.items() if row.on_request and row.audience is audience}

    assert requestable(Audience.CUSTOMER) == set(get_args(CustomerKind))
    assert requestable(Audience.CUSTOMER) >= {"cancellation_approved", "cancellation_declined"}
    assert requestable(Audience.BUSINESS) == set(get_args(BusinessKind))
    assert requestable(Audience.BUSINESS) >= {
        "customer_unreachable",
        "customer_recovered",
        "cancellation_requested",
        "subscription_ending",
    }
