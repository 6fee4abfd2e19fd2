"""A host application that speaks to the API without a socket: the service without its framework, on tables in memory."""

from __future__ import annotations

import email
import inspect
import json
import urllib.parse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from eventlet.semaphore import Semaphore
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from services.portal.handlers import api_keys
from services.portal.models import Base
from services.portal.service import PortalService
from services.portal.tokens.links import Links
from services.portal.web.api import problems
from services.portal.web.api.door import ApiHttp, Route
from services.portal.web.known_keys import KnownKeys
from services.portal.web.limiter import Limiter
from shared.clock import utc_now
from shared.contracts.rpc.api_keys import SCOPES
from shared.nameko_ext.http_answers import Later, answer_bytes
from shared.nameko_ext.http_requests import HttpRequest
from shared.settings import Secret
from tests.unit import tables
from tests.unit.portal.builders import REFERENCES
from tests.unit.portal.notifier_webhooks import NotifierWebhooks


def routes() -> Iterator[tuple[str, Route]]:
    """Every route of the API, by the name of its method."""
    for name, method in inspect.getmembers(PortalService, inspect.isfunction):
        for entrypoint in getattr(method, "nameko_entrypoints", ()):
            if isinstance(entrypoint, ApiHttp):
                yield name, entrypoint.route


ADDRESSES = Map(
    [Rule(f"/api/v1{one.path}", methods=[one.method], endpoint=name) for name, one in routes()]
).bind("localhost")


class Told:
    """An answer."""

    def __init__(self, response: Any) -> None:
        self.not_before = 0.0
        """Until when it is held back (monotonic)."""
        if isinstance(response, Later):
            response, self.not_before = response
        self.status: int = response.status_code
        head, _, body = answer_bytes(response, bodiless=False, connection=b"").partition(
            b"\r\n\r\n"
        )
        self.headers: Mapping[str, str] = email.message_from_bytes(head.partition(b"\r\n")[2])
        self.text: str = body.decode()
        self.json: Any = json.loads(self.text)


class Others:
    """Billing and the notifier, as far as the API asks them: notes the calls, and answers what `answers` has, else what the notifier's
    webhooks say, else nothing found."""

    def __init__(self) -> None:
        self.webhooks = NotifierWebhooks()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, list[Any]] = {}

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.calls.append((name, arguments))
            answers = self.answers.get(name)
            if not answers and name in self.webhooks:
                return self.webhooks.call(name, arguments)
            answer = answers.pop(0) if answers else _NOTHING_FOUND[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


_NOTHING_FOUND: dict[str, Any] = {
    "emails_of_invoices": [],
    "erase_customer": {"deleted": 0, "emptied": 0, "next": None},
}


class ApiHost:
    """The portal, and keys for it."""

    def __init__(self) -> None:
        self.portal: Any = PortalService()
        self.db = self.portal.db = tables.empty(Base.metadata)
        self.woken: list[str] = []
        self.portal.wiring = SimpleNamespace(
            links=Links([Secret("k" * 40)], "https://portal.example"),
            references=REFERENCES,
            platform="Portico",
            observes=False,
            api_mode="test",
            api_limiter=Limiter(most=100_000),
            known_keys=KnownKeys(),
            bulks=defaultdict(Semaphore),
        )
        self.notifier, self.billing = Others(), Others()
        self.portal.notifier = self.portal.erasing_notifier = self.notifier
        self.portal.erasing_billing = self.billing
        self.portal.credentials = self._credential
        self.portal.wake_relay = lambda: self.woken.append("relay")
        self.portal.wake_cards = lambda: None
        self.portal.wake_rights = lambda: self.woken.append("rights")
        self.questions = 0
        """How often a key was looked up."""

    def _credential(self, digest: str) -> Any:
        self.questions += 1
        with self.db.transaction() as session:
            return api_keys.recognise(session, [digest], utc_now())[0]

    def key(self, business_id: str | None = None, scopes: Sequence[str] = SCOPES) -> str:
        """A new key of the installation, or of one business."""
        with self.db.transaction() as session:
            made = api_keys.create(
                session,
                name=f"key {self.questions} {len(api_keys.listed(session, None))}",
                scopes=scopes,
                business_id=business_id,
                expires_at=None,
                mode="test",
                now=utc_now(),
            )
        return made.key

    def send(
        self,
        method: str,
        path: str,
        key: str | None,
        body: Any = None,
        **headers: str,
    ) -> Told:
        """A request below `/api/v1`; a body of bytes is sent as it is. `headers` as `Idempotency_Key="1"`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent.setdefault("Authorization", f"Bearer {key}")
        data = b""
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {name.lower().encode(): value.encode() for name, value in sent.items()}
        target = f"/api/v1{path}".encode()
        request = HttpRequest(method, target, fields, http_1_0=False, keep_alive=True)
        request._body = data
        try:
            name, values = ADDRESSES.match(request.path, method, query_args=request.query)
        except HTTPException as error:
            return Told(problems.of_http(error))
        return Told(getattr(self.portal, name)(request, **values))

    def ok(self, *args: Any, **headers: str) -> Any:
        """The same; the answer's JSON, which is no error."""
        told = self.send(*args, **headers)
        assert told.status < 300, told.text
        return told.json


def query(**given: Any) -> str:
    """Parameters of an address."""
    return "?" + urllib.parse.urlencode(given)
