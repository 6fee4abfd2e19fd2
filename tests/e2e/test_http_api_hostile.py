"""What a hostile or broken host sends to the running API: each is answered as the document says, and nothing is half-written."""

from __future__ import annotations

import json
import socket
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
import requests

from examples.http_client import Portico
from local.processes import Embedded
from services.portal.domain.api_keys import new_key
from services.portal.web.api.problems import CODES

ADA = {"business_id": "attacked", "external_id": "1", "name": "Ada", "email": "ada@example.com"}
Send = Callable[..., list[tuple[int, bytes]]]


@pytest.fixture
def key(embedded: Embedded) -> str:
    """The installation's, and a business of these tests."""
    made = (embedded.folder / "var" / "api.key").read_text().strip()
    Portico(embedded.api_url, made).post("/businesses", business_id="attacked", name="Attacked")
    return made


@pytest.fixture
def other(embedded: Embedded) -> str:
    """The demo business's key."""
    return (embedded.folder / "var" / "business.key").read_text().strip()


@pytest.fixture
def send(embedded: Embedded, key: str) -> Send:
    """Bytes over one connection, KEY in them the key: status and body of so many answers, or of those until the server closes."""
    port = urllib.parse.urlsplit(embedded.api_url).port or 0

    def exchange(data: bytes, expected: int = 1) -> list[tuple[int, bytes]]:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sock.sendall(data.replace(b"KEY", key.encode()))
            received = b""
            while len(answers(received)) < expected and (piece := sock.recv(1 << 16)):
                received += piece
        return answers(received)

    return exchange


def answers(data: bytes) -> list[tuple[int, bytes]]:
    """The whole answers in a stream of them."""
    found: list[tuple[int, bytes]] = []
    while b"\r\n\r\n" in data:
        head, _, rest = data.partition(b"\r\n\r\n")
        lengths = [
            line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        ]
        length = int(lengths[0].partition(b":")[2]) if lengths else 0
        if len(rest) < length:
            break
        found.append((int(head[9:12]), rest[:length]))
        data = rest[length:]
    return found


def posted(body: bytes, *headers: bytes, path: bytes = b"/api/v1/customers") -> bytes:
    more = b"".join(line + b"\r\n" for line in headers)
    return (
        b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n%s"
        b"Content-Length: %d\r\n\r\n" % (path, more, len(body))
    ) + body


def customers(embedded: Embedded, key: str) -> list[dict[str, Any]]:
    return list(Portico(embedded.api_url, key).all("/customers", "customer_id", business_id="attacked"))  # fmt: skip


NAMES = {
    "half a document": (json.dumps(ADA).encode()[:-20], "invalid_request"),
    "ten megabytes": (json.dumps({**ADA, "name": "x" * (10 << 20)}).encode(), "request_too_large"),
    "a lone surrogate": (b'{"business_id": "attacked", "external_id": "1", "name": "\\ud800", "email": "a@example.com"}', "invalid_request"),
    "a null byte": (json.dumps({**ADA, "name": "A\0"}).encode(), "invalid_argument"),
    "bytes that are no UTF-8": (b'{"business_id": "attacked", "name": "\xff\xfe"}', "invalid_request"),
    "two documents": (json.dumps(ADA).encode() * 2, "invalid_request"),
    "a hundred thousand brackets": (b"[" * 100_000, "invalid_request"),
    "a number as a name": (json.dumps({**ADA, "name": 1e308}).encode(), "invalid_argument"),
    "a second business by another name": (json.dumps({**ADA, "businessId": "sunrise-cleaning"}).encode(), "invalid_argument"),
    "UTF-16": (json.dumps(ADA).encode("utf-16"), "invalid_request"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_body_that_is_none_writes_nothing(
    embedded: Embedded, key: str, send: Send, name: str
) -> None:
    """Problem details with the code, for one customer; in bulk the same. Not a row is there."""
    body, code = NAMES[name]
    before = customers(embedded, key)
    # Of what is too large the head decides.
    ((status, told),) = send(posted(body)[: 1 << 19])
    assert (status, json.loads(told)["code"]) == (CODES[code], code)
    assert customers(embedded, key) == before


def test_of_a_member_given_twice_the_last_counts_everywhere(
    embedded: Embedded, key: str, other: str
) -> None:
    """It is read once: whose it is is not asked of one and done with the other."""
    body = b'{"business_id": "sunrise-cleaning", "business_id": "attacked", "external_id": "1", "name": "A", "email": "a@example.com"}'
    headers = {"Authorization": f"Bearer {other}", "Content-Type": "application/json"}
    told = requests.post(f"{embedded.api_url}/customers", data=body, headers=headers, timeout=10)
    assert (told.status_code, told.json()["code"]) == (404, "not_found")
    assert customers(embedded, key) == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/json5"])  # fmt: skip
def test_another_kind_of_content_is_refused(embedded: Embedded, key: str, kind: str) -> None:
    """A browser's form could be sent from anywhere."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
    told = requests.post(
        f"{embedded.api_url}/customers", data=json.dumps(ADA), headers=headers, timeout=10
    )
    assert (told.status_code, told.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "BREW"])
def test_other_methods_do_nothing(embedded: Embedded, key: str, method: str) -> None:
    """Nothing is reflected, and no other method is as good as GET."""
    headers = {"Authorization": f"Bearer {key}", "X-Mark": "reflected"}
    told = requests.request(method, f"{embedded.api_url}/customers", headers=headers, timeout=10)
    assert told.status_code in (400, 405)
    assert "reflected" not in told.text + str(told.headers)


def test_a_key_in_the_address_is_none(embedded: Embedded, key: str) -> None:
    """And it is in no log."""
    for name in ("key", "access_token", "Authorization"):
        told = requests.get(f"{embedded.api_url}/businesses", params={name: key}, timeout=10)
        assert (told.status_code, told.json()["code"]) == (401, "unauthorized")
    headers = {"Authorization": f"Bearer {key}"}
    told = requests.get(f"{embedded.api_url}/businesses?key={key}", headers=headers, timeout=10)
    assert told.json()["code"] == "invalid_argument"
    assert key not in embedded.logs()["embedded"]


def test_a_slash_in_an_id_leads_nowhere_else(embedded: Embedded, key: str, other: str) -> None:
    """Encoded once or twice, with dots or without."""
    made = Portico(embedded.api_url, key).post("/customers", **ADA)["customer_id"]
    for path in (
        f"customers/x%2F..%2F{made}", f"customers/..%2F..%2Fv1%2Fcustomers%2F{made}", f"customers/{made}%00",
        f"customers/%252F{made}", f"customers//{made}", "businesses/attacked%2F",
        f"customers/{made}%20", f"customers/{made}/", "incidents/in_%2F..%2Fx",
    ):  # fmt: skip
        for one in (key, other):
            address = f"{embedded.api_url}/{path}"
            headers = {"Authorization": f"Bearer {one}"}
            told = requests.get(address, headers=headers, timeout=10, allow_redirects=False)
            assert (told.status_code, told.json()["code"]) == (404, "not_found"), path
    assert Portico(embedded.api_url, key).delete(f"/customers/{made}")["erased"]


def test_a_cursor_of_another_business_shows_nothing_of_it(
    embedded: Embedded, key: str, other: str
) -> None:
    """Neither an id to go on from, nor a place in the events."""
    installation, own = Portico(embedded.api_url, key), Portico(embedded.api_url, other)
    made = installation.post("/customers", **ADA, platform_stripe_customer_id="cus_Attacked")
    headers = {"Authorization": f"Bearer {other}"}
    for path in ("/customers", "/incidents"):
        for place in (made["customer_id"], "in_none"):
            told = requests.get(
                f"{embedded.api_url}{path}", params={"starting_after": place}, headers=headers, timeout=10
            )  # fmt: skip
            assert (told.status_code, told.json()["errors"][0]["field"]) == (404, "starting_after")
    _, cursor = installation.events()
    for since in ("1", cursor, "9" * 18):
        told = requests.get(
            f"{embedded.api_url}/events", params={"since": since, "limit": 100}, headers=headers, timeout=10
        )  # fmt: skip
        assert "attacked" not in told.text
        assert "cus_Attacked" not in told.text
    assert own.get("/businesses")["data"][0]["business_id"] == "sunrise-cleaning"
    installation.delete(f"/customers/{made['customer_id']}")


def test_an_idempotency_key_of_another_api_key_tells_nothing(
    embedded: Embedded, key: str, other: str
) -> None:
    """Neither the answer of before, nor that there was one."""
    told = []
    for one in (key, other, new_key("test")):
        headers = {"Authorization": f"Bearer {one}", "Idempotency-Key": "same"}
        told.append(
            requests.post(f"{embedded.api_url}/customers", json=ADA, headers=headers, timeout=10)
        )
    assert [one.status_code for one in told] == [201, 404, 401]
    assert told[0].json()["customer_id"] not in told[1].text + told[2].text
    Portico(embedded.api_url, key).delete(f"/customers/{told[0].json()['customer_id']}")


def test_requests_behind_each_other_are_answered_in_order(
    embedded: Embedded, key: str, send: Send
) -> None:
    """Pipelined, one of them chunked, one of them wrong: each has its own answer, and what is wrong ends nothing else."""
    first = json.dumps(ADA).encode()
    chunked = (
        (
            b"POST /api/v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        + b"".join(b"%x\r\n%s\r\n" % (1, first[i : i + 1]) for i in range(len(first)))
        + b"0\r\n\r\n"
    )
    found = b"GET /api/v1/customers?business_id=attacked HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n"
    told = send(posted(first) + posted(b"{}") + chunked + found, 4)
    assert [status for status, _ in told] == [201, 400, 200, 200]
    (ada,) = json.loads(told[3][1])["data"]
    assert ada["name"] == "Ada"
    Portico(embedded.api_url, key).delete(f"/customers/{ada['customer_id']}")


def test_a_body_that_two_could_read_otherwise_is_none(
    embedded: Embedded, key: str, send: Send
) -> None:
    """A length and chunks; two lengths; a body that ends too soon. Nothing of what is behind it is read as a request."""
    body = json.dumps(ADA).encode()
    for headers in ([b"Transfer-Encoding: chunked"], [b"Content-Length: 5"]):
        told = send(posted(body, *headers) + posted(body), 2)
        assert [status for status, _ in told] == [400]
    cut = posted(body)[:-10]
    assert [status for status, _ in send(cut)] == [408]
    assert customers(embedded, key) == []
