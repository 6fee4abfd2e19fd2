"""The broker over TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.messaging.transport import Connection
from tests.fixtures.certificates import make_certificate

SILENT_SECONDS = 30
"""How long the broker says nothing, and how long whoever waits for it would wait."""


@pytest.fixture
def reaching(tmp_path: Path) -> Iterator[Any]:
    """Makes a transport to a broker on this machine, by a name of this machine's. It shakes hands, by a certificate of 127.0.0.1 and of
    nobody else here, and says nothing more."""
    certificate, key = make_certificate(tmp_path, "broker")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    over = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def say_nothing() -> None:
        with (
            contextlib.suppress(OSError),
            listening.accept()[0] as accepted,
            context.wrap_socket(accepted, server_side=True),
        ):
            over.wait(SILENT_SECONDS)

    def reach(host: str) -> Any:
        port = listening.getsockname()[1]
        return Connection("nowhere").Transport(
            f"{host}:{port}", SILENT_SECONDS, {"ca_certs": str(certificate)}
        )

    broker = threading.Thread(target=say_nothing)
    broker.start()
    yield reach
    over.set()
    broker.join()
    listening.close()


def test_a_silent_broker_is_left_at_once(reaching: Any) -> None:
    """TLS has a farewell of its own, which a broker that says nothing does not say."""
    made = reaching("127.0.0.1")
    made.connect()
    began = time.monotonic()
    made.close()
    assert time.monotonic() - began < SILENT_SECONDS / 2


def test_the_broker_is_who_the_setting_names(reaching: Any) -> None:
    """It gets a password and what stands in messages: a certificate of another name is nobody's, however well it is signed."""
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for 'localhost'"):
        reaching("localhost").connect()
