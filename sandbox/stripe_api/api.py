"""Stripe's API in process: requests with their parameters checked, idempotency keys, what is answered."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from sandbox.config import SandboxConfig
from sandbox.stripe_api import (
    portal,
    resources,  # noqa: F401  (registers every route)
    webhook_endpoints,
)
from sandbox.stripe_api.engine import Engine
from sandbox.stripe_api.errors import StripeError
from sandbox.stripe_api.expansion import expand
from sandbox.stripe_api.ids import new_id
from sandbox.stripe_api.places import OWN, Place
from sandbox.stripe_api.rendering import public
from sandbox.stripe_api.routing import find
from sandbox.stripe_api.store import Object, decode, encode
from sandbox.stripe_api.world import World

MAX_ANSWERS = 20_000
KEY_SECONDS = 86_400
"""How long an idempotency key is remembered (https://docs.stripe.com/api/idempotent_requests)."""


@dataclass(frozen=True)
class Answer:
    """What a request is answered with. `body` is JSON; `replayed` says that an idempotency key remembered it."""

    status: int
    body: bytes
    request_id: str
    replayed: bool = False


class AccountApi(World):
    """A place with Stripe's API in front of it: pages, console and tests use `call` and `portal_session`."""

    __slots__ = ()

    def call(
        self,
        method: str,
        path: str,
        params: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """One request, in process: `world.call("POST", "/v1/customers", {"email": "…"})`.

        `params` is nested, values may be Python's (True, 3); the answer is a copy. Raises StripeError.
        """
        answer = self.perform(method, path, params or {}, idempotency_key, outside=False)
        body: dict[str, Any] = decode(answer.body)
        if answer.status >= 400:
            raise StripeError.parse(answer.status, body)
        return body

    def perform(
        self,
        method: str,
        path: str,
        params: dict[str, Any],
        idempotency_key: str | None = None,
        *,
        outside: bool = True,
        legacy: bool = False,
        application: str | None = None,
    ) -> Answer:
        """One request, as the HTTP server passes it on.

        `outside` requests show in their events' `request`; `legacy` ones name no API version and may send what
        older versions knew. `application` is the platform's, when it acts on an account that is not its own.
        """
        request_id = new_id("req", 14)
        engine = self.engine
        with engine.work(), engine.acting_as(application):
            before = engine.request
            if outside or idempotency_key:
                engine.request = {
                    "id": request_id if outside else None,
                    "idempotency_key": idempotency_key,
                }
            try:
                return self._perform(method, path, params, idempotency_key, request_id, legacy)
            finally:
                engine.request = before

    def _perform(
        self,
        method: str,
        path: str,
        params: dict[str, Any],
        key: str | None,
        request_id: str,
        legacy: bool,
    ) -> Answer:
        if method != "POST":
            key = None
        if key is not None:
            remembered = self.store.answer(key)
            # State files of earlier releases have no time with an answer.
            if remembered and len(remembered) == 6 and self.now() - remembered[5] < KEY_SECONDS:
                return self._replay(remembered, key, path, _fingerprint(path, params), request_id)
        keep = True
        try:
            status, body = 200, encode(self._handle(method, path, params, legacy))
        except StripeError as error:
            status, body, keep = error.status, encode(error.body(request_id)), error.keep
        if key is not None and keep:
            self._keep(key, path, params, Answer(status, body, request_id))
        return Answer(status, body, request_id)

    def keep_answer(self, key: str, path: str, params: dict[str, Any], answer: Answer) -> None:
        """Have a key remember this answer to a request, in the place of what was really answered."""
        with self.work():
            self._keep(key, path, params, answer)

    def _keep(self, key: str, path: str, params: dict[str, Any], answer: Answer) -> None:
        known = [path, _fingerprint(path, params), answer.status, answer.body.decode()]
        self.store.remember_answer(key, [*known, answer.request_id, self.now()])
        self.store.forget_oldest_answers(MAX_ANSWERS)

    def _handle(self, method: str, path: str, params: dict[str, Any], legacy: bool) -> Object:
        route, ids = find(method, path)
        checked = route.check(params, legacy=legacy)
        paths = checked.pop("expand", None)
        result = route.handler(self, ids, checked)
        result = public(result)
        return expand(self, result, paths) if paths else result

    @staticmethod
    def _replay(
        remembered: list[Any], key: str, path: str, fingerprint: str, request_id: str
    ) -> Answer:
        known_path, known_fingerprint, status, body, first_id, _ = remembered
        if known_path != path:
            rule = f"the same endpoint they were first used for ('{known_path}')"
        elif known_fingerprint != fingerprint:
            rule = "the same parameters they were first used with"
        else:
            return Answer(status, body.encode(), first_id, replayed=True)
        error = StripeError(
            f"Keys for idempotent requests can only be used with {rule}. Try using a key other than '{key}' if "
            "you meant to execute a different request.",
            type="idempotency_error",
        )
        return Answer(error.status, encode(error.body(request_id)), request_id)

    def portal_session(self, secret: str, *, use: bool = False) -> Object | None:
        """The hosted portal's session behind a URL's secret, or None; see `portal.find_session`."""
        with self.work():
            return portal.find_session(self, secret, use=use)


class StripeApi(AccountApi):
    """The account that is there from the start, and beside it all the others: `at` finds them."""

    def __init__(self, config: SandboxConfig) -> None:
        super().__init__(Engine(config, AccountApi), OWN)
        self.engine.adopt(self)
        with self.work():
            for url, secret in config.webhook_endpoints:
                webhook_endpoints.ensure(self, url, secret)
            for url, secret in config.connect_endpoints:
                webhook_endpoints.ensure(self, url, secret, connect=True)

    def start(self) -> None:
        """Begin to deliver webhooks and to let real time do its work (`Engine.start`)."""
        self.engine.start()

    def stop(self) -> None:
        """Stop the threads and close the file."""
        self.engine.stop()

    def on_event(self, callback: Callable[[Object], None]) -> None:
        """Have every event of every account handed to `callback` (`Engine.on_event`)."""
        self.engine.on_event(callback)

    def at(self, place: Place) -> AccountApi:
        """The API of a place. Whether there is such an account, the directory knows."""
        with self.engine.lock:
            found = self.engine.world(place)
        assert isinstance(found, AccountApi)
        return found


def _fingerprint(path: str, params: dict[str, Any]) -> str:
    """What tells one request from another under the same key."""
    sorted_params = msgspec.json.encode(params, order="deterministic")
    return hashlib.sha256(path.encode() + b"\0" + sorted_params).hexdigest()
