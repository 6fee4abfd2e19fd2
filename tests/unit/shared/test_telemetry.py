"""The log's last safety net."""

import datetime as dt
import enum
import json
import logging
import os
from dataclasses import dataclass, field

import eventlet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import telemetry
from shared.nameko_ext import runtime
from shared.telemetry import (
    HEAD,
    MOST_VALUES,
    NESTED_LENGTH,
    SECRETS,
    TAIL,
    redact,
)
from tests.fixtures.logs import configured_logs

EXAMPLES = [
    "https://pay.example/me/AbC-_123.sig",
    "https://sandbox/p/session/bps_123abc",
    "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
    "rk_live_abc123",
    "whsec_abcdef",
    "whsec_abc/38+hunter2=",
    "SG.aaaa.bbbb",
    "amqp://user:hunter2@host/",
    "amqp://:hunter2@host/",
    "amqp://user:p@ss@hunter2@host/",
    "https://pay.example/ME/AbC-_123.sig",
    "sk_org_live_abc123",
    "ek_live_abc123",
    "pi_3Q1_secret_abc123",
    "https://checkout.stripe.com/c/pay/cs_test_a1#fidkdWxOYHwn",
    "https://pay.stripe.com/receipts/payment/CAcaFwoV",
    "ada@example.com",
    f"https://pay.example/connect/{'AbC-_' * 8}123",
    "https://pay.example/Requests/AbC-_123.sig",
    "return_url=https%3A%2F%2Fpay.example%2Fme%2FAbC-_123.sig",
    "https:\\/\\/pay.example\\/me\\/AbC-_123.sig",
    "?email=ada%40example.com",
    "?next=%252Frequests%252FAbC-_123.sig",
    "https://pay.example//me//AbC-_123.sig",
    "https://pay.example/me/%41bC-_123.sig",
    "?key%3Dsk_live_abc123%20rk_live_abc123",
    "?secret%3Dwhsec_abcdef",
]


@pytest.mark.parametrize("secret", EXAMPLES)
def test_redact(secret):
    """Links, session URLs, keys, passwords and addresses do not survive."""
    told = redact(f"something about {secret} happened")
    assert secret not in told
    assert "hunter2" not in told
    assert told.startswith("something about ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("to o'brien@example.com, d'arc%40example.com", "to ***@***, ***@***"),
        ("{'to': 'ada@example.com'}", "{'to': '***@***'}"),
        ("it's 'ada' who isn't 'here'", "it's 'ada' who isn't 'here'"),
    ],
)
def test_an_apostrophe_is_a_part_of_an_address_and_a_quote_is_none(text, told):
    """Nothing of the name before it stays; nothing else goes."""
    assert redact(text) == told


def test_ids_stay():
    """Ids that explain a story are kept, and addresses that are no secret."""
    text = "evt_1Qx in_1Qx cus_1Qx sub_1 pm_1 /connect/stripe/return /webhooks/stripe/connect"
    assert redact(text) == text


@pytest.mark.parametrize("length", [HEAD + TAIL + 1, 1_000_000])
def test_a_long_text_is_considered_no_further_than_the_cap(length):
    """Its middle is left out and counted, its beginning and its end are kept, whatever stands between."""
    told = redact("begins " + "x " * (length // 2) + " ends")
    assert len(told) < HEAD + TAIL + 50
    assert told.startswith("begins ")
    assert told.endswith(" ends")
    assert "characters left out" in told


def test_a_long_word_is_left_out_whole():
    """Without a gap nobody can tell where a secret in it would begin."""
    assert redact("x" * 100_000) == "…100000 characters left out…"


@pytest.mark.parametrize("secret", ["sk_live_QWERTY", "ada@QWERTY.example", "/me/QWERTY.sig"])
def test_no_cut_makes_a_secret_unrecognisable(secret):
    """Wherever the cuts fall, no half of a secret stays behind without what makes it one."""
    for before in range(HEAD - len(secret) - 1, HEAD + 2):
        text = "y" * (before - 1) + " " + secret
        assert "QWE" not in redact(text + " z" * TAIL)
    for after in range(TAIL - len(secret) - 1, TAIL + 2):
        assert "RTY" not in redact("y " * HEAD + secret + " " + "z" * (after - 1))


@pytest.fixture
def lines():
    """Call it for what was logged since the test began, each line parsed."""
    with configured_logs() as stream:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Point:
    at: dt.date
    mail: str
    key: str = field(repr=False)


@pytest.mark.parametrize(
    ("given", "logged"),
    [
        ({"in_1": "declined"}, {"in_1": "declined"}),
        ([], []),
        (("a", 1, None, True, 1.5), ["a", 1, None, True, 1.5]),
        ({3}, [3]),
        (Colour.RED, "red"),
        ({Colour.RED: [Colour.RED]}, {"Colour.RED": ["red"]}),
        (dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC), "2026-11-29T12:00:00+00:00"),
        (dt.timedelta(minutes=2), 120.0),
        (float("nan"), "nan"),
        (b"\xff sk_test_1", "\\xff ***"),
        ([memoryview(b"ada@example.com")], ["***@***"]),
        (
            Point(dt.date(2026, 11, 29), "ada@example.com", "sk_test_1"),
            {"at": "2026-11-29", "mail": "***@***"},
        ),
        (
            {"who": ["see /me/AbC.sig", {"to": "ada@example.com"}]},
            {"who": ["see /me/***", {"to": "***@***"}]},
        ),
        ({"ada@example.com": 1}, {"***@***": 1}),
        (ValueError("ada@example.com"), "***@***"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_values_are_json(lines, given, logged):
    """Structures are logged as JSON and redacted all through, never as Python writes them."""
    telemetry.get_logger("x").info("it happened", what=given)
    assert lines()[0]["what"] == logged


def test_a_structure_in_a_line_is_bounded(lines):
    """In the number of its values, the length of its texts and its depth; what is left out is counted."""
    itself = []
    itself.append(itself)
    telemetry.get_logger("x").info(
        "it happened", many=list(range(1000)), long={"a": "b " * 9000}, deep=itself
    )
    (line,) = lines()
    assert line["many"][MOST_VALUES:] == [f"… {1000 - MOST_VALUES} left out"]
    assert len(line["long"]["a"]) == NESTED_LENGTH
    assert len(json.dumps(line)) < 3000


@given(st.lists(st.sampled_from([*EXAMPLES, "/i/", "ada", " ", "sk_", "_live_x", "//127.0.0.1:1"])))
def test_nothing_secret_passes_the_first_look(parts):
    """The quick look lets nothing by that a pattern would change."""
    text = slow = "".join(parts)
    for pattern, replacement in SECRETS:
        slow = pattern.sub(replacement, slow)
    assert redact(text) == slow


def test_a_line_that_can_not_be_written_is_lost_without_its_contents(lines):
    """logging's own complaint prints the arguments as they came: ours names the error alone."""

    class Rude:
        def __str__(self):
            raise RuntimeError("ada@example.com")

    telemetry.get_logger("x").warning("it happened", what=Rude())
    assert lines() == [
        {"event": "log line lost", "level": "error", "logger": "x", "error": "RuntimeError"}
    ]


def test_levels_are_kept_and_audits_are_told_at_each(lines):
    """What is below the level of its logger costs nothing and is not written; an audit always is."""
    telemetry.get_logger("x").debug("it happened")
    logging.getLogger("quiet.one").setLevel(logging.ERROR)
    telemetry.get_logger("quiet.one").warning("it happened")
    telemetry.get_logger("quiet.one").log(logging.ERROR, "it failed")
    logging.getLogger().setLevel(logging.ERROR)
    telemetry.audit("it was done", who="ada")
    told = [(one["event"], one["level"], one["logger"]) for one in lines()]
    assert told == [("it failed", "error", "quiet.one"), ("audit", "info", telemetry.AUDIT_LOGGER)]


def test_an_audit_line_tells_of_what_is_too_long_only_how_long_it_is(lines):
    """A mebibyte in the place of an id, six hundred times a minute, would be a full disk by the evening."""
    telemetry.audit("it was done", which="x" * 1_000_000, ids=["x" * 1000], other="x" * 300)
    (line,) = lines()
    assert (line["which"], line["ids"], line["other"]) == ("(1000000 characters)", 1, "x" * 300)


def test_a_stream_that_is_closed_stops_nobody():
    """Whoever logs does not meet the log's own errors."""
    with configured_logs() as stream:
        stream.close()
        telemetry.get_logger("x").warning("it happened")


def test_our_lines_and_the_libraries_are_alike(lines):
    """Both carry service, logger, level and time, and an exception is text without secrets."""
    try:
        raise ValueError("ada@example.com")
    except ValueError:
        telemetry.get_logger("x").exception("it failed")
        logging.getLogger("library").exception("it failed")
    ours, theirs = lines()
    assert ours.keys() == theirs.keys() == {"event", "level", "logger", "service", "timestamp", "exception"}  # fmt: skip
    assert "ValueError: ***@***" in ours["exception"]
    assert (ours["level"], ours["service"]) == (theirs["level"], theirs["service"]) == ("error", "test")  # fmt: skip


def test_what_escapes_a_green_thread_is_redacted_too(lines, capfd):
    """eventlet prints such tracebacks past the log: they go through it instead."""

    def fails():
        raise ValueError("ada@example.com")

    hub = eventlet.hubs.get_hub()
    names = ("squelch_generic_exception", "squelch_timer_exception", "squelch_exception")
    reading, writing = os.pipe()

    def fails_after_a_wait():
        eventlet.hubs.trampoline(reading, read=True)
        fails()

    runtime.log_escaped_errors()
    try:
        eventlet.spawn_n(fails)
        eventlet.spawn_n(fails_after_a_wait)
        eventlet.sleep(0)
        os.write(writing, b"x")
        eventlet.sleep(0.01)
    finally:
        for name in names:
            delattr(hub, name)
        os.close(reading)
        os.close(writing)
    told = lines()
    assert len(told) == 2
    for line in told:
        assert "ValueError: ***@***" in line["exception"]
    assert capfd.readouterr().err == ""


def test_metrics_are_told_by_their_names_of_the_release_before_too():
    """Rules and dashboards of others go on for a release; what is new has one name."""
    telemetry.DEAD_LETTERS.labels("nobody", "Permanent").inc(3)
    telemetry.BUILD.labels("nobody", "1.2.3", "3.13.1").set(1)
    told = telemetry.exposition().decode().splitlines()
    assert 'portico_dead_letters_total{reason="Permanent",service="nobody"} 3.0' in told
    assert 'dead_letters_total{reason="Permanent",service="nobody"} 3.0' in told
    assert 'portico_build_info{python="3.13.1",service="nobody",version="1.2.3"} 1.0' in told
    assert not [line for line in told if line.startswith("build_info")]
