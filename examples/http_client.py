"""How a business's own software talks to Portico over HTTP: plain Python, nothing to install.

Copy it, or read it and write your own in any language; docs/openapi-v1.yaml is the API, docs/integration.md tells the story.

    make run                                  # in another terminal; it makes a key
    python3 examples/http_client.py           # makes a business, a customer and an appointment, and prints the customer's link

PORTICO_API and PORTICO_KEY can be set; else it looks where `make run` is, by API_PORT and PORTICO_VAR.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TRIES = 4


class PorticoError(Exception):
    """Portico refused; `code` is for programs, such as `invalid_argument`, `fields` says which are wrong."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}")
        self.status, self.code = status, problem.get("code")
        self.fields = {one["field"]: one["detail"] for one in problem.get("errors", [])}


class Portico:
    """The API with one key.

    >>> portico = Portico("http://127.0.0.1:8003/api/v1", "portico_test_…")
    >>> portico.post("/customers", business_id="sunrise", external_id="1001", name="Ada", email="ada@example.com")
    """

    def __init__(self, api: str, key: str, timeout: float = 10.0) -> None:
        self._api, self._key, self._timeout = api.rstrip("/"), key, timeout
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str, **query: Any) -> Any:
        """Ask for something."""
        return self._send("GET", f"{path}?{urllib.parse.urlencode(query)}" if query else path)

    def post(self, path: str, **body: Any) -> Any:
        """Change something. Sent again after a lost answer it is done once: each call has a word of its own."""
        return self._send("POST", path, body)

    def delete(self, path: str) -> Any:
        """Take something away."""
        return self._send("DELETE", path)

    def all(self, path: str, id_of: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Everything in a list, page by page; `id_of` names the field that the next page begins after."""
        more: dict[str, Any] = {}
        while True:
            page = self.get(path, limit=100, **query, **more)
            yield from page["data"]
            if not page["has_more"]:
                return
            more = {"starting_after": page["data"][-1][id_of]}

    def events(self, since: str | None = None) -> tuple[list[dict[str, Any]], str]:
        """What happened since a cursor that you keep (None: everything that is kept), and the next cursor."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get("/events", limit=100, **({"since": since} if since else {}))
            found, since = found + page["data"], page["next"]
            if not page["has_more"]:
                return found, str(since)

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send it; again where the answer was lost or says when to come back. Raises PorticoError, OSError."""
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": str(uuid.uuid4())}
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        for left in reversed(range(TRIES)):
            request = urllib.request.Request(  # noqa: S310 (the caller's own address)
                self._api + path, data=data, headers=headers, method=method
            )
            try:
                with self._opener.open(request, timeout=self._timeout) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if left == 0 or error.headers.get("Retry-After") is None:
                    raise PorticoError(error.code, json.load(error)) from None
                time.sleep(int(error.headers["Retry-After"]))
            except OSError:
                if left == 0:
                    raise
                time.sleep(0.5)
        raise AssertionError


def main() -> int:
    """Make a little of everything; running it again changes nothing."""
    port = os.environ.get("API_PORT", "8003")
    api = os.environ.get("PORTICO_API", f"http://127.0.0.1:{port}/api/v1")
    file = Path(os.environ.get("PORTICO_VAR", "var"), "api.key")
    key = os.environ.get("PORTICO_KEY") or (file.read_text().strip() if file.exists() else "")
    if not key:
        print(
            f"no key in {file}: start `make run` first, in this folder, or set PORTICO_KEY to a key of `portico keys create`",
            file=sys.stderr,
        )
        return 2
    try:
        make_data(Portico(api, key))
    except PorticoError as error:
        print(f"{api}: {error}", file=sys.stderr)
        return 1
    except (OSError, http.client.InvalidURL) as error:
        why = getattr(error, "reason", error)
        print(f"{api}: {why}. Is `make run` running there?", file=sys.stderr)
        return 1
    return 0


def make_data(portico: Portico) -> None:
    """A business, a customer, an appointment; prints the customer's link."""
    portico.post("/businesses", business_id="harbor", name="Harbor Gardening")
    customer = portico.post(
        "/customers",
        business_id="harbor",
        external_id="1",
        name="Grace Hopper",
        email="grace@example.com",
    )["customer_id"]
    visit = {"external_id": "a-1", "title": "Spring pruning", "starts_at": "2030-03-01T09:00:00Z"}
    portico.post(f"/customers/{customer}/appointments", appointments=[visit])
    print(portico.get(f"/customers/{customer}/link")["url"])


if __name__ == "__main__":
    sys.exit(main())
