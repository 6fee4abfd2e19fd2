"""Traces of real processes, taken by a stand-in for a collector: whole, private, and only when they are asked for."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from examples.host_app import Portico
from local.processes import SERVICES, Process, Stack
from local.servers import PostgreSQL, RabbitMQ, free_port
from tests.fixtures.collector import Collector, Seen
from tests.fixtures.servers import REPOSITORY
from tests.fixtures.story import Story, eventually
from tests.fixtures.system import assert_private, leaks
from tests.fixtures.webhooks import deliver, golden

KEY = "c0llector-k3y"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    taking = Collector()
    yield taking
    taking.close()


def settings(url: str, **others: str) -> dict[str, str]:
    """The variables that switch tracing on, as an operator sets them."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{KEY}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        **others,
    }


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory,
    rabbitmq: RabbitMQ,
    postgres: PostgreSQL,
    migrated: Callable[[str], str],
    collector: Collector,
) -> Iterator[Stack]:
    """The distributed system, traced. Its logs are searched at the end, for the collector's key too."""
    system = Stack(
        tmp_path_factory.mktemp("traced"),
        name="traced",
        rabbitmq=rabbitmq,
        postgres=postgres,
        settings=settings(collector.url),
    )
    system.migrated = migrated
    try:
        system.start()
        yield system
    finally:
        system.close()
    assert_private(system.logs(), [*system.secrets(), KEY])


@pytest.fixture(scope="module")
def story(traced: Stack) -> Iterator[Story]:
    told = Story(Portico(traced.amqp_uri, timeout=10), traced.sandbox_url, traced.stripe_api_key)
    yield told
    told.close()


PROCESS = "process billing.events:invoice.payment_failed:"


def only(spans: list[Seen], service: str, name: str) -> Seen:
    """The one span of that service with that name."""
    found = [span for span in spans if (span.service, span.name) == (service, name)]
    assert len(found) == 1, (name, [(span.service, span.name) for span in spans])
    return found[0]


def mail_trace(collector: Collector) -> list[Seen]:
    """The trace that ends in a mail that SendGrid took, once it is whole; else nothing."""
    for sent in collector.spans():
        if sent.name == "send notification" and sent.facts.get("portico.outcome") == "sent":
            trace = collector.trace(sent.trace)
            names = {(span.service, span.name) for span in trace}
            if names >= {
                ("billing", "POST /webhooks/stripe"),
                ("billing", "billing/invoice_states"),
                ("portal", f"{PROCESS}portal.billing-events"),
                ("portal", "portal/contacts"),
            }:
                return trace
    return []


def test_a_failed_charge_is_one_trace_through_three_services(
    story: Story, collector: Collector
) -> None:
    """From Stripe's webhook over the outbox and the broker to SendGrid each span is the child of what caused it."""
    customer = story.customer()
    story.charge_fails(customer)
    story.mail_to(customer, within=30)
    trace = eventually(lambda: mail_trace(collector), within=20, what="the whole trace")

    webhook = only(trace, "billing", "POST /webhooks/stripe")
    assert webhook.parent is None
    assert webhook.facts["portico.outcome"] == "translated"
    published = only(trace, "billing", "publish billing.events:invoice.payment_failed")
    assert published.parent == webhook.ids
    assert (
        published.facts["messaging.message.conversation_id"]
        == webhook.facts["portico.correlation_id"]
    )
    for service in ("portal", "notifier"):
        handled = only(trace, service, f"{PROCESS}{service}.billing-events")
        assert (handled.kind, handled.parent) == ("CONSUMER", published.ids)
    heard = only(trace, "notifier", f"{PROCESS}notifier.billing-events")
    sent = only(trace, "notifier", "send notification")
    assert sent.parent == heard.ids
    assert only(trace, "notifier", "POST /v3/mail/send").parent == sent.ids

    # A failure that comes alone is asked about while it is written down, one among others once a sender has it.
    together = only(trace, "notifier", "batch invoices")
    assert together.parent in (heard.ids, sent.ids)
    asked = only(trace, "notifier", "billing/invoice_states")
    assert (asked.kind, asked.parent) == ("CLIENT", together.ids)
    answered = only(trace, "billing", "billing/invoice_states")
    assert (answered.kind, answered.parent) == ("SERVER", asked.ids)
    looked = [span for span in trace if span.name == "GET /v1/invoices/{id}"]
    assert answered.ids in [span.parent for span in looked]

    shared = only(trace, "notifier", "batch contacts")
    assert shared.parent == together.parent
    assert only(trace, "notifier", "portal/contacts").parent == shared.ids


TREE_LINE = re.compile(r"^(portal|billing|notifier) +((?:[│├└─ ]+ )?)(\S.*?)(?:   .*)?$")


def test_the_page_draws_the_trace_as_it_is(collector: Collector) -> None:
    """The tree of docs/operations.md: each span by its service and name, somewhere below what caused it."""
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    drawn = page.partition("One trace goes from")[2].split("```")[1].strip().splitlines()
    eventually(lambda: mail_trace(collector), within=20, what="the whole trace")
    spans = (
        collector.spans()
    )  # what is shared with others may be a child of theirs, and links to ours
    above: dict[int, tuple[str, str]] = {}
    for line in drawn:
        found = TREE_LINE.match(line)
        assert found, line
        service, name = found[1], found[3]
        depth = line.index(name)
        parents = [one for column, one in above.items() if column < depth]
        above = {column: one for column, one in above.items() if column < depth}
        above[depth] = (service, name)
        caused_by = {
            (other.service, other.name)
            for span in spans
            if (span.service, span.name) == (service, name)
            for other in spans
            if other.ids in (span.parent, *span.links)
        }
        assert not parents or caused_by & set(parents), line
    assert len(drawn) > 10


def test_a_click_is_one_trace_to_stripe(story: Story, collector: Collector) -> None:
    """The page's button: portal, RPC, billing, Stripe; the route and a template are all that is told of addresses."""
    customer = story.customer()
    answer = requests.post(f"{customer.link}/billing", allow_redirects=False, timeout=10)
    assert answer.status_code == 303

    def whole() -> list[Seen]:
        for span in collector.spans():
            if span.name == "POST /v1/billing_portal/sessions":
                trace = collector.trace(span.trace)
                told = {(one.service, one.name) for one in trace}
                # Each process tells of what has ended every now and then, and of a call when its answer is on its way.
                if told >= {
                    ("portal", "POST /me/<token>/billing"),
                    ("billing", "billing/create_portal_session"),
                }:
                    return trace
        return []

    trace = eventually(whole, what="the click's trace")
    click = only(trace, "portal", "POST /me/<token>/billing")
    assert click.facts["http.response.status_code"] == "303"
    asked = only(trace, "portal", "billing/create_portal_session")
    assert asked.parent == click.ids
    made = only(trace, "billing", "billing/create_portal_session")
    assert made.parent == asked.ids
    assert only(trace, "billing", "POST /v1/billing_portal/sessions").parent == made.ids
    assert answer.headers["Location"] not in "".join(span.text for span in collector.spans())


def test_webhooks_that_share_a_commit_keep_their_traces(
    traced: Stack, collector: Collector
) -> None:
    """A batch belongs to the first and links to the others; each webhook's event goes out in its own trace."""
    bodies = [golden("invoice.payment_failed", f"cus_shared{number}") for number in range(20)]
    with ThreadPoolExecutor(10) as pool:
        answers = pool.map(
            lambda body: deliver(traced.billing_url, body, traced.webhook_secret), bodies
        )
    assert {answer.status_code for answer in answers} == {200}
    known = {body["id"] for body in bodies}

    def whole() -> list[Seen]:
        found = [
            span
            for span in collector.spans()
            if span.facts.get("messaging.message.conversation_id") in known
            and span.kind == "PRODUCER"
        ]
        return found if len(found) == len(known) else []

    published = eventually(whole, within=20, what="the publishing of all")
    assert len({span.trace for span in published}) == len(known)
    webhooks = {
        span.ids: span.facts["portico.correlation_id"]
        for span in collector.spans()
        if span.facts.get("portico.correlation_id") in known
        and span.name == "POST /webhooks/stripe"
    }
    for span in published:
        assert span.parent is not None
        assert webhooks[span.parent] == span.facts["messaging.message.conversation_id"]
    batches = [
        span
        for span in collector.spans()
        if span.name == "batch webhooks" and span.parent in webhooks
    ]
    told = [ids for span in batches for ids in (span.parent, *span.links)]
    assert sorted(ids for ids in told if ids in webhooks) == sorted(webhooks)


def test_no_span_tells_a_secret(story: Story, traced: Stack, collector: Collector) -> None:
    """Links, session URLs, addresses and keys are in no name, attribute, event, status or resource; the collector's
    key goes in the header alone."""
    customer = story.customer()
    requests.get(f"{customer.link}?from=payment_failed", timeout=10)
    requests.get(f"{traced.portal_url}/me/forged-token-of-nobody", timeout=10)
    eventually(
        lambda: [span for span in collector.spans() if span.name == "GET /me/<token>"],
        what="the page's span",
    )
    everything = "\n".join(span.text for span in collector.spans())
    private = [customer.token, customer.email, customer.name, "forged-token", KEY]
    assert leaks(everything, [*traced.secrets(), *private]) == []
    assert {headers["authorization"] for headers in collector.headers} == {f"Bearer {KEY}"}
    assert {span.service for span in collector.spans()} == set(SERVICES)
    assert not [
        span for span in collector.spans() if span.facts.get("url.template") == "/{id}/{id}"
    ], "the way to the collector is traced itself"


def test_log_lines_name_the_trace(traced: Stack, collector: Collector, story: Story) -> None:
    """The notifier's line about a mail holds the trace's id and the correlation id."""
    sent = next(span for span in collector.spans() if span.name == "send notification")
    lines = [line for line in traced.logs()["notifier-1"].splitlines() if sent.trace in line]
    assert any(sent.facts["portico.correlation_id"] in line for line in lines)


def portal(traced: Stack, tmp_path_factory: pytest.TempPathFactory, **others: str) -> Process:
    """One more portal on the same broker and database."""
    port = free_port()
    env = {**traced.env("portal", port), **others}
    log = tmp_path_factory.mktemp("portal") / "portal.log"
    return Process(f"portal-{next(_numbers)}", "services.portal", port=port, env=env, log=log)


def start(process: Process) -> None:
    """Until it serves pages and its connection to the broker stands."""
    process.start()
    process.wait_for(lambda: '"event": "ready"' in process.log_text(), within=30)


def ask(process: Process) -> None:
    """A page that nobody has: one span."""
    assert requests.get(f"{process.url}/me/nobody", timeout=10).status_code == 404


def test_a_leaving_process_hands_over_its_last_spans(
    traced: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SIGTERM: what waits for its batch is sent before the process ends, and that does not take long."""
    taking = Collector()
    leaving = portal(
        traced,
        tmp_path_factory,
        **settings(taking.url, OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_SERVICE_NAME="leaving"),
    )
    try:
        start(leaving)
        ask(leaving)
        assert taking.spans() == ()
        assert leaving.terminate() == 0
        assert [span.service for span in taking.spans() if span.name == "GET /me/<token>"] == [
            "leaving"
        ]
    finally:
        leaving.kill()
        taking.close()


def test_an_absent_collector_harms_nobody(
    traced: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Pages are answered as fast, one line says that spans are lost, no key is logged, and SIGTERM ends it in time."""
    alone = portal(traced, tmp_path_factory, **settings(f"http://127.0.0.1:{free_port()}"))
    try:
        start(alone)
        began = time.monotonic()
        for _ in range(50):
            ask(alone)
        assert time.monotonic() - began < 20
        eventually(
            lambda: "takes no spans" in alone.log_text(), within=40, what="the line about it"
        )
        ask(alone)
        began = time.monotonic()
        assert alone.terminate() == 0
        assert time.monotonic() - began < 15
        text = alone.log_text()
        assert text.count("takes no spans") == 1
        assert len(text.splitlines()) < 10
        assert KEY not in text
    finally:
        alone.kill()


def test_without_the_variables_nothing_is_sent(
    traced: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Not to the standard's default address either; nor when it is switched off by name."""
    try:
        usual = Collector(4318)
    except OSError:
        pytest.skip("something listens at OTLP's usual port")
    unset = dict.fromkeys(settings(""), "")
    off = settings(usual.url, OTEL_SDK_DISABLED="true")
    for variables in (unset, off):
        quiet = portal(traced, tmp_path_factory, **variables)
        try:
            start(quiet)
            ask(quiet)
            assert quiet.terminate() == 0
        finally:
            quiet.kill()
    usual.close()
    assert usual.spans() == ()
