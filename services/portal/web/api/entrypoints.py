"""How a request of the HTTP API is done: whose key, what it may do, what is given, once or again. The routes stand beside this, a
module a subject, and their rules in the handlers that RPC has too.

Whose things a route is about is said by names that are the same everywhere: `business_id` and `customer_id`, in the address, the query
or the body. They are checked here, before any route's own code runs.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from sqlalchemy.orm import Session

from services.portal.domain.api_keys import Credential, digest
from services.portal.handlers import api_keys, idempotency
from services.portal.handlers.idempotency import Kept, OtherRequest, StillRunning
from services.portal.metrics import LINK_CONFLICTS
from services.portal.ports import ServiceAway
from services.portal.queries import customers as people
from services.portal.web.api import problems
from services.portal.web.api.door import ApiHttp, Route, key_of
from services.portal.web.api.problems import Refused
from services.portal.web.entrypoints import (
    RETRY_AFTER_SECONDS,
    PortalEntrypoints,
    as_late_as_others,
)
from shared.clock import utc_now
from shared.contracts.host_api import NoArguments
from shared.contracts.rpc.arguments import read_arguments
from shared.contracts.rpc.base import Arguments
from shared.contracts.rpc.errors import InvalidArgument, NotFound, RpcError, StripeCustomerConflict
from shared.database import UnstorableValue
from shared.nameko_ext.batching import Batched
from shared.nameko_ext.http_answers import Later, PreparedAnswer
from shared.nameko_ext.http_answers import Reply as Answered
from shared.nameko_ext.loops import Waker
from shared.outbox import has_said
from shared.telemetry import audit
from shared.text import clean

IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}")
JSON: Final = (("Content-Type", "application/json"),)
WAITING_BULKS: Final = 3
"""How many bulk requests of a key wait for their turn in this process: each has a worker."""
SAME_TIME: Final = (401, 403, 404)
"""What is answered after the same time, whatever the reason: so that time doesn't tell a revoked key from an unknown one, or somebody
else's customer from nobody."""

Result = TypeVar("Result")


class Reply(NamedTuple):
    """What a route answers."""

    answer: Any
    status: int = 200


@dataclass
class Call:
    """A request of the API: who asks, and for what."""

    credential: Credential
    given: Any
    """The query's or the body's struct."""
    now: dt.datetime
    values: Mapping[str, str] = field(default_factory=dict)
    """What the address names."""
    after: list[Callable[[], None]] = field(default_factory=list)
    """What is done once it is written."""
    request_id: str | None = None
    """Of a request with an `Idempotency-Key`: the same when it is sent again, for services that are to do it once."""
    repeated: bool = False
    """It was done, and is answered once more: nothing is to be done again."""
    told: Any = None
    """What other services answered, where the route asks them (`Route.asks`)."""

    @property
    def customer_id(self) -> str:
        """The customer whom the address names: the key's own."""
        return self.values["customer_id"]

    def named(self, name: str) -> list[str]:
        """What the address, the query or the body give by this name."""
        given = (self.values.get(name), getattr(self.given, name, None))
        return [one for one in given if one is not None]

    def finish(self) -> None:
        """It is written: do what comes after."""
        for action in self.after:
            action()

    @property
    def business_id(self) -> str | None:
        """The business that is asked for: the one that is given, else the key's own; None: neither. The key's own, or the key is the
        installation's."""
        given: str | None = getattr(self.given, "business_id", None)
        return given if given is not None else self.credential.business_id

    @property
    def the_business(self) -> str:
        """The same, where there must be one. Raises InvalidArgument."""
        if self.business_id is None:
            raise InvalidArgument("business_id: missing")
        return self.business_id

    @property
    def alone(self) -> bool:
        """Whether the key speaks for one business only."""
        return self.credential.business_id is not None


def _recognise(session: Session, digests: list[str]) -> list[Credential | None]:
    return api_keys.recognise(session, digests, utc_now())


class ApiEntrypoints(PortalEntrypoints):
    """Base of the API's routes."""

    credentials = Batched("api_keys", _recognise)
    wake_relay = Waker("relay")

    def _serve(
        self,
        route: Route,
        handler: Callable[..., Reply],
        request: Any,
        values: Mapping[str, str],
    ) -> Answered | Later:
        arrived = time.monotonic()
        answer = self._attempt(route, handler, request, values)
        return as_late_as_others(answer, arrived) if answer.status_code in SAME_TIME else answer

    def _attempt(
        self, route: Route, handler: Callable[..., Reply], request: Any, values: Mapping[str, str]
    ) -> Answered:
        key = key_of(request, self.wiring.api_mode)
        if key is None:
            return problems.unauthorized()
        credential = self.wiring.known_keys.credential(digest(key), self.credentials)
        if credential is None:
            return problems.unauthorized()
        outcome, call = "ok", None
        try:
            call = self._read(route, credential, request, values)
            if route.method == "GET":
                self._ask(route, call)
                with self.db.reading() as session:
                    reply = self._run(session, handler, call)
                return _answer(reply.status, _json(reply.answer))
            with self._turn(route, credential):
                return self._change(route, handler, request, call)
        except Exception as error:
            outcome, refusal = _told(error)
            if refusal is None:
                raise
            return refusal
        finally:
            if route.audited is not None:
                facts = {name: getattr(call.given, name) for name in route.audited} if call else {}
                audit(
                    f"portal.api.{handler.__name__.removeprefix('api_')}",
                    who=credential.key_id, came_by="api", outcome=outcome, **values, **facts,
                )  # fmt: skip

    @contextmanager
    def _turn(self, route: Route, credential: Credential) -> Iterator[None]:
        """Of a key's bulk requests one is done at a time, and few wait. Raises Refused."""
        if not route.bulk:
            yield
            return
        turns = self.wiring.bulks[credential.key_id]
        if turns.balance <= -WAITING_BULKS:
            raise Refused(
                "rate_limited", "Too many bulk requests at once with this key.", Retry_After="1"
            )
        with turns:
            yield

    def _read(
        self, route: Route, credential: Credential, request: Any, values: Mapping[str, str]
    ) -> Call:
        """The request as the route wants it. Raises Refused, InvalidArgument, NotFound."""
        if seconds := self.wiring.api_limiter.take(credential.key_id):
            raise Refused(
                "rate_limited", "Too many requests with this key.", Retry_After=str(seconds)
            )
        if route.scope not in credential.scopes:
            raise Refused(
                "insufficient_scope", f"This key may not do this: it lacks {route.scope}."
            )
        for name, value in values.items():
            if clean(value) != value:
                raise NotFound(f"{name}: no such one")
        query = read_arguments(_query(request), route.query or NoArguments, strict=False)
        if route.query is not None:
            return Call(credential, query, utc_now(), values)
        return Call(credential, _body(route, request), utc_now(), values)

    def _run(self, session: Session, handler: Callable[..., Result], call: Call) -> Result:
        """Do it, if what it is about is the key's own. Raises NotFound, which doesn't say whether somebody else's it is."""
        own = call.credential.business_id
        if own is not None:
            if any(one != own for one in call.named("business_id")):
                raise NotFound("business_id: no such business")
            for customer_id in call.named("customer_id"):
                if people.business_id_of(session, customer_id) != own:
                    raise NotFound("customer_id: no such customer")
        done = handler(self, session, call)
        if has_said(session):
            call.after.append(self.wake_relay)
        return done

    def _ask(self, route: Route, call: Call) -> None:
        """Ask other services what the route wants to know of them: with no transaction open, and only for whose it is."""
        if route.asks is None:
            return
        with self.db.reading() as session:
            ask = self._run(session, getattr(type(self), route.asks), call)
        call.told = ask()

    def _change(
        self, route: Route, handler: Callable[..., Reply], request: Any, call: Call
    ) -> Answered:
        """Do it in a transaction, once for an `Idempotency-Key`."""
        key = request.headers.get("Idempotency-Key")
        if key is None:
            self._ask(route, call)
            reply = self._write(lambda session: self._run(session, handler, call))
            call.finish()
            return _answer(reply.status, _json(reply.answer))
        if not IDEMPOTENCY_KEY.fullmatch(key):
            raise InvalidArgument("Idempotency-Key: expected 1 to 255 visible ASCII characters")
        name = idempotency.name_of(
            key_id=call.credential.key_id,
            method=route.method,
            target=f"{request.path}?{request.query}",
            key=key,
            body=request.get_data(),
        )
        call.request_id = name.request_id
        try:
            kept = self._write(lambda session: idempotency.begin(session, name, call.now))
            if kept is None:
                return self._first(route, handler, call, name)
        except StillRunning:
            raise Refused(
                "request_in_progress", "The first request with this Idempotency-Key is under way.",
                Retry_After="1",
            ) from None  # fmt: skip
        except OtherRequest:
            raise Refused(
                "idempotency_key_reused", "This Idempotency-Key was used for another request."
            ) from None
        if kept.answer is not None:
            return _answer(kept.status, kept.answer)
        again = getattr(type(self), route.again or "").handler
        call.repeated = True
        self._ask(route, call)
        with self.db.reading() as session:
            return _answer(kept.status, _json(self._run(session, again, call).answer))

    def _first(
        self,
        route: Route,
        handler: Callable[..., Reply],
        call: Call,
        name: idempotency.RequestName,
    ) -> Answered:
        """Effect and answer are one transaction. Raises what the handler raises, and forgets the request then."""

        def work(session: Session) -> tuple[int, str]:
            reply = self._run(session, handler, call)
            text = _json(reply.answer)
            kept = Kept(reply.status, None if route.again else text)
            idempotency.finish(session, name, call.now, kept)
            return reply.status, text

        try:
            self._ask(route, call)
            status, text = self._write(work)
        except Exception:
            with self.db.transaction() as session:
                idempotency.abandon(session, name, call.now)
            raise
        call.finish()
        return _answer(status, text)


def _told(error: Exception) -> tuple[str, Answered | None]:
    """What became of a request that is not done, in a word, and its answer; None: something failed in our house."""
    if isinstance(error, Refused):
        return error.code, problems.of_refusal(error)
    if isinstance(error, UnstorableValue):
        told = "A number is too large or a text too long to be stored."
        return "invalid_argument", problems.problem("invalid_argument", told)
    if isinstance(error, ServiceAway):
        return error.reason, problems.unavailable(RETRY_AFTER_SECONDS)
    if isinstance(error, StripeCustomerConflict):
        LINK_CONFLICTS.labels("api").inc()
    name = type(error).__name__
    return name, problems.of_error(error) if isinstance(error, RpcError) else None


def _query(request: Any) -> Mapping[str, str]:
    """What stands in the address. Raises InvalidArgument for what stands there twice: a proxy may count the other one."""
    if not request.query:
        return {}
    found: dict[str, str] = {}
    for name, values in request.args.lists():
        if len(values) > 1:
            raise InvalidArgument(f"{name}: given more than once")
        found[name] = values[0]
    return found


def _body(route: Route, request: Any) -> Arguments:
    """What is sent. Raises Refused, InvalidArgument."""
    struct, data = route.body or NoArguments, request.get_data()
    if not data and route.body is None:
        return struct()
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused("unsupported_media_type", "Expected JSON: Content-Type: application/json")
    try:
        given = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Refused("invalid_request", "The body is no JSON.") from None
    if not isinstance(given, dict):
        raise Refused("invalid_request", "Expected an object as the body.")
    return read_arguments(given, struct)


def _json(answer: Any) -> str:
    return msgspec.json.encode(answer).decode()


def _answer(status: int, text: str) -> PreparedAnswer:
    return PreparedAnswer(text.encode() + b"\n", status, JSON)


def route(
    method: str,
    path: str,
    scope: str,
    *,
    answer: Any,
    query: type[Arguments] | None = None,
    body: type[Arguments] | None = None,
    **more: Any,
) -> Callable[[Callable[[Any, Session, Call], Reply]], Any]:
    """Decorate a method that answers a request of the API, in a transaction that is open: it gets the session and the `Call`, whose
    `business_id` and `customer_id` are the key's own. `more`: see `Route`."""
    made = Route(
        method=method, path=path, scope=scope, query=query, body=body, answer=answer, **more
    )

    def decorate(handler: Callable[[Any, Session, Call], Reply]) -> Any:
        @functools.wraps(handler)
        def entrypoint(self: ApiEntrypoints, request: Any, **values: str) -> Answered | Later:
            return self._serve(made, handler, request, values)

        entrypoint.handler = handler  # type: ignore[attr-defined]
        return ApiHttp.decorator(made)(entrypoint)

    return decorate
