"""The broker over TLS."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

from shared.messaging.transport import Connection
from tests.fixtures.certificates import make_certificate


def test_a_silent_broker_is_left_at_once_over_tls_too(tmp_path: Path) -> None:
    """TLS has a farewell of its own, which a broker that says nothing does not say."""
    certificate, key = make_certificate(tmp_path, "broker")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    left = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def shake_hands_and_say_nothing() -> None:
        with context.wrap_socket(listening.accept()[0], server_side=True):
            left.wait(5)

    broker = threading.Thread(target=shake_hands_and_say_nothing)
    broker.start()
    tls = {"ca_certs": str(certificate), "cert_reqs": ssl.CERT_REQUIRED}
    made = Connection("nowhere").Transport(f"127.0.0.1:{listening.getsockname()[1]}", 5, tls)
    made.connect()
    began = time.monotonic()
    made.close()
    took = time.monotonic() - began
    left.set()
    broker.join()
    listening.close()
    assert took < 1
