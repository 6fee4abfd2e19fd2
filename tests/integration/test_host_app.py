"""The example of a host application does what docs/integration.md says, over the real broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest
import requests
from kombu import Connection, Exchange, Queue

from examples import host_app
from examples.host_app import Portico
from local.processes import Stack
from tests.fixtures.story import Story, eventually


def test_it_makes_a_customer_and_prints_a_link_that_opens(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run twice it prints the same working link: everything it does is idempotent."""
    monkeypatch.setenv("AMQP_URI", stack.amqp_uri)
    assert host_app.main([]) == 0
    first = capsys.readouterr().out.strip()
    assert host_app.main([]) == 0
    assert capsys.readouterr().out.strip() == first
    page = requests.get(first, timeout=10)
    assert page.status_code == 200
    assert "Spring pruning" in page.text


def test_it_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a broker's address it says which variable to set."""
    monkeypatch.delenv("AMQP_URI", raising=False)
    assert host_app.main([]) == 2
    assert "AMQP_URI" in capsys.readouterr().err


def test_it_hears_events(story: Story, stack: Stack) -> None:
    """Its own queue gets the failed invoice of a customer, in the documented shape."""
    heard: list[dict[str, Any]] = []
    done = threading.Event()
    ready = threading.Event()

    def go_on() -> bool:
        ready.set()
        return not done.is_set()

    listener = threading.Thread(
        target=host_app.listen,
        args=(stack.amqp_uri, "test-host", ["invoice.payment_failed"], heard.append, go_on),
    )
    listener.start()
    try:
        assert ready.wait(10)
        customer = story.customer("autopay")
        invoice = story.charge_fails(customer)
        eventually(lambda: heard, what="the event")
    finally:
        done.set()
        listener.join(10)
    assert heard[0]["type"] == "invoice.payment_failed"
    assert heard[0]["data"]["invoice_id"] == invoice["id"]
    assert heard[0]["data"]["stripe_customer_id"] == customer.stripe_id


def test_an_unknown_service_is_an_error(story: Story) -> None:
    """A call to a method that does not exist is answered, not awaited in vain."""
    with pytest.raises(host_app.PorticoError) as caught:
        story.portico.call("portal", "no_such_method")
    assert caught.value.error == "MethodNotFound"


def test_a_service_that_never_ran_is_told_at_once(story: Story) -> None:
    """A call to a service that no broker has heard of fails at once instead of waiting for its time limit."""
    with pytest.raises(host_app.PorticoError) as caught:
        story.portico.call("nobody", "anything")
    assert caught.value.error == "Unavailable"
    assert story.portico.call(
        "portal", "link", customer_id=story.customer("never paid").customer_id
    )


def test_a_call_that_nobody_answers_is_told(stack: Stack) -> None:
    """With its name, and how long it waited."""
    with Connection(stack.amqp_uri) as connection, Portico(stack.amqp_uri, timeout=0.5) as portico:
        exchange = Exchange("amq.topic", type="topic", passive=True)
        Queue("", exchange, "nobody.answers", exclusive=True)(connection.channel()).declare()
        with pytest.raises(TimeoutError, match=r"nobody\.answers gave no answer in 0\.5 s"):
            portico.call("nobody", "answers")


def test_listening_ends_with_ctrl_c(stack: Stack) -> None:
    """Exit code 0 and no traceback."""
    listener = subprocess.Popen(
        [sys.executable, host_app.__file__, "--listen"],
        env={"AMQP_URI": stack.amqp_uri, "PATH": os.environ["PATH"]},
        stderr=subprocess.PIPE,
        text=True,
        # Whoever has the tests run behind a shell's `&` has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        queue = "host.billing-events"
        eventually(
            lambda: stack.rabbitmq.queues(stack.vhost).get(queue, (0, 0))[1] == 1, what="its queue"
        )
        listener.send_signal(signal.SIGINT)
        _, told = listener.communicate(timeout=30)
    finally:
        listener.kill()
    assert (listener.returncode, told) == (0, "")
