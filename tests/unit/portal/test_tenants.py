"""A business's key sees and changes nothing of another business: over all routes, whatever is asked.

The routes are read off the service. A parameter or a field that nobody has said a value for fails here, so a new route can't be left
out; and without the check each route about a customer fails.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import or_, select

from services.notifier.models import HookAttempt, HookDelivery, HookEndpoint
from services.portal.handlers import appointments, customers, host_events
from services.portal.handlers.events import handle
from services.portal.models import AppointmentRow, BusinessRow, CustomerRow, LinkEvidenceRow
from services.portal.queries.host_events import place_of
from services.portal.web.api.door import Route
from services.portal.web.api.entrypoints import Call
from shared.contracts.rpc.portal import (
    AppointmentArgument,
    BusinessArguments,
    CustomerArguments,
)
from tests.unit.portal.api_host import ApiHost, query, routes
from tests.unit.portal.builders import event, failed

pytestmark = pytest.mark.whole

NOW = dt.datetime.now(dt.UTC)
SECRET = "alphas-own"
"""Stands in everything of the other business that could be told."""
ROUTES = dict(routes())
every_route = pytest.mark.parametrize("name", ROUTES)
EXAMPLES = max(3, settings.default.max_examples // 8)  # type: ignore[union-attr]
"""Worlds a route: two dozen of them keep one rule."""


class World:
    """Two businesses, alpha and beta, with the same ids of their own, and a key of beta's."""

    def __init__(self, each: int) -> None:
        self.host = ApiHost()
        self.ids: dict[str, list[str]] = {}
        with self.host.db.transaction() as session:
            for business in ("alpha", "beta"):
                mark = SECRET if business == "alpha" else "betas"
                given = BusinessArguments(
                    business_id=business, name=mark, email=f"{mark}@example.com"
                )
                customers.upsert_business(session, given, NOW)
                self.ids[business] = [
                    self._customer(session, business, mark, number) for number in range(each)
                ]
        self.beta, self.all = self.host.key("beta"), self.host.key()
        self.endpoints = {whose: self._endpoint(whose) for whose in ("alpha", "beta", None)}

    def _endpoint(self, business: str | None) -> str:
        """Its webhook endpoint, at which something was tried."""
        url = f"https://{'betas' if business == 'beta' else SECRET}.example.com/in"
        made = self.host.notifier.create_webhook_endpoint(url=url, business_id=business)
        name = str(made["about"]["endpoint_id"])
        self.host.notifier.test_webhook_endpoint(endpoint_id=name)
        with self.host.notifier.webhooks.db.transaction() as session:
            for one in session.scalars(
                select(HookDelivery).where(HookDelivery.endpoint_id == name)
            ):
                session.add(
                    HookAttempt(
                        endpoint_id=name,
                        hook_event_id=one.hook_event_id,
                        at=NOW,
                        milliseconds=3,
                        error=SECRET if business != "beta" else "timeout",
                    )
                )
        return name

    @staticmethod
    def _customer(session: Any, business: str, mark: str, number: int) -> str:
        stripe_id = f"cus_{business}{number}"
        made = customers.upsert_customer(
            session,
            CustomerArguments(
                business_id=business,
                external_id=f"c{number}",
                name=f"{mark} {number}",
                email=f"{mark}{number}@example.com",
                platform_stripe_customer_id=stripe_id,
            ),
            NOW,
        )
        visit = AppointmentArgument(
            external_id="a1", title=mark, starts_at=NOW + dt.timedelta(days=1)
        )
        appointments.upsert_appointments(
            session, customer_id=made.customer_id, given=[visit], now=NOW
        )
        owed = failed(
            invoice_id=f"in_{business}{number}", stripe_customer_id=stripe_id, number=mark
        )
        told = event(owed, NOW)
        handle(session, told, NOW)
        host_events.note(session, [told], NOW)
        return made.customer_id

    def of_alpha(self) -> list[Any]:
        """Every row of alpha's."""
        with self.host.db.reading() as session:
            business = session.scalars(
                select(BusinessRow).where(BusinessRow.business_id == "alpha")
            ).one()
            people = list(
                session.scalars(select(CustomerRow).where(CustomerRow.business_pk == business.id))
            )
            names = [one.public_id for one in people]
            visits = session.scalars(
                select(AppointmentRow).where(
                    AppointmentRow.customer_pk.in_([one.id for one in people])
                )
            )
            words = session.scalars(
                select(LinkEvidenceRow).where(
                    or_(
                        LinkEvidenceRow.object_id.in_(names),
                        LinkEvidenceRow.customer_ref.in_(names),
                    )
                )
            )
            rows = [business, *people, *visits, *words]
            return [*_values_of(rows), *self._endpoints_of_others()]

    def _endpoints_of_others(self) -> list[Any]:
        """Alpha's webhook endpoint and the installation's, with all that is about them."""
        names = [name for whose, name in self.endpoints.items() if whose != "beta"]
        with self.host.notifier.webhooks.db.reading() as session:
            return [
                one
                for table in (HookEndpoint, HookDelivery, HookAttempt)
                for one in _values_of(
                    session.scalars(select(table).where(table.endpoint_id.in_(names)))
                )
            ]


def _values_of(rows: Iterable[Any]) -> list[Any]:
    return [[getattr(row, column.name) for column in row.__table__.columns] for row in rows]


def values(world: World) -> dict[str, list[Any]]:
    """What may stand in each parameter and field, by its name."""
    endpoints = list(world.endpoints.values())
    with world.host.notifier.webhooks.db.reading() as session:
        heard = list(
            session.scalars(select(HookDelivery.hook_event_id).order_by(HookDelivery.created_at))
        )
    everybody = [*world.ids["alpha"], *world.ids["beta"]]
    return {
        "business_id": ["alpha", "beta", " alpha", "alpha ", "nobody"],
        "customer_id": [*everybody, "A" * 22, "c0"],
        "external_id": ["c0", "c1", "a1", "new"],
        "starting_after": [*everybody, "alpha", "beta", "in_alpha0", "in_beta0", *endpoints, 1, 2],
        "endpoint_id": [*endpoints, "whe_none", "A"],
        "event_id": [*heard, "evh_none", None],
        "url": ["https://given.example.com/in", "http://localhost/"],
        "event_types": [[], ["invoice.paid"]],
        "enabled": [True, False],
        "until": ["2030-01-01T10:00:00Z", None],
        "failed_only": [True, False],
        "invoice_id": ["in_alpha0", "in_beta0", "in_none"],
        "since": [
            "0",
            "1",
            str(place_of(NOW)),
            "9" * 18,
            (NOW - dt.timedelta(hours=1)).isoformat(),
            None,
        ],
        "after": ["inbox:", "outbox:0"],
        "open": [True, False],
        "stripe_customer_id": ["cus_alpha0", "cus_beta0", "cus_free"],
        "platform_stripe_customer_id": ["cus_alpha0", "cus_beta0", "cus_free"],
        "limit": [1, 100],
        "withdraw_only": [True, False],
        "name": ["Given"],
        "email": ["given@example.com"],
        "sender_email": ["given@example.com", None],
        "title": ["Given"],
        "starts_at": ["2030-01-01T10:00:00Z"],
        "ends_at": ["2030-01-01T11:00:00Z", None],
        "location": ["Given", None],
        "status": ["cancelled"],
        "phone": ["+1 555 0100", None],
        "website": ["https://example.com", None],
        "logo_url": [None],
        "color": ["#112233", None],
        "locale": ["en", None],
        "timezone": ["UTC", None],
        "reminder_policy": [{"interval_days": 5}, None],
        "service_note": ["Given", None],
        "charged_as": ["GIVEN", None],
        "currency": ["usd", None],
        "stripe_account": ["acct_alpha", None],
        "on_behalf_of": ["acct_alpha", None],
        "release_links": [True, False],
        "enrolment": ["from_stripe", "by_host", None],
    }


def arguments(struct: type[msgspec.Struct] | None, pool: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:  # fmt: skip
    """What may be given for a struct: its needed fields, and some of the others."""
    if struct is None:
        return st.just({})
    hints = get_type_hints(struct)
    needed, optional = {}, {}
    for one in msgspec.structs.fields(struct):
        (inner,) = [
            part
            for part in get_args(hints[one.name])
            if isinstance(part, type) and issubclass(part, msgspec.Struct)
        ] or [None]
        if inner is not None and one.name not in pool:
            value = st.lists(arguments(inner, pool), max_size=3)
        else:
            assert one.name in pool, f"say in `values` what may be given for {one.name}"
            value = st.sampled_from(pool[one.name])
        (needed if one.required else optional)[one.name] = value
    return st.fixed_dictionaries(needed, optional=optional)


PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


def request_of(
    route: Route, pool: dict[str, list[Any]], draw: Any
) -> tuple[str, dict[str, Any] | None]:
    """An address below the root, and a body."""

    def value(found: re.Match[str]) -> str:
        assert found[1] in pool, f"say in `values` what may stand for {found[1]} in an address"
        return str(draw(st.sampled_from(pool[found[1]])))

    path = PARAMETER.sub(value, route.path)
    if route.query is not None:
        path += query(**draw(arguments(route.query, pool)))
    body = draw(arguments(route.body, pool)) if route.method == "POST" else None
    return path.replace(" ", "%20"), body


BODIES: dict[str, dict[str, Any]] = {
    "BusinessArguments": {"business_id": "alpha", "name": "A"},
    "CustomerArguments": {
        "business_id": "alpha",
        "external_id": "c0",
        "name": "A",
        "email": "a@example.com",
    },
    "CustomersArguments": {"business_id": "alpha", "customers": []},
    "AppointmentsArguments": {"appointments": []},
    "StripeLinkArguments": {"stripe_customer_id": "cus_alpha0"},
    "NewWebhookEndpoint": {"business_id": "alpha", "url": "https://given.example.com/in"},
    "ReplayArguments": {"since": (NOW - dt.timedelta(hours=1)).isoformat()},
}
"""What is needed of each, about alpha."""


def good_request(name: str, world: World) -> tuple[str, dict[str, Any] | None]:
    """A request about alpha's things that a route does for whoever may see them."""
    route, first = ROUTES[name], values(world)
    path = PARAMETER.sub(lambda found: str(first[found[1]][0]), route.path)
    if "business_id" in getattr(route.query, "__struct_fields__", ()):
        path += query(business_id="alpha")
    if route.method != "POST":
        return path, None
    return path, BODIES.get(route.body.__name__, {}) if route.body else {}


def sees_and_changes_nothing(
    world: World, name: str, path: str, body: dict[str, Any] | None
) -> None:
    """A request with beta's key: nothing of alpha's is in the answer, and no row of alpha's has changed."""
    before = world.of_alpha()
    told = world.host.send(ROUTES[name].method, path, world.beta, body)
    assert told.status < 500, told.text
    assert SECRET not in told.text
    for customer_id in world.ids["alpha"]:
        assert customer_id in path or customer_id not in told.text
        assert told.status >= 400 or f"/{customer_id}" not in path, "somebody else's customer"
    assert world.of_alpha() == before


@every_route
@settings(max_examples=EXAMPLES)
@given(each=st.integers(1, 3), data=st.data())
def test_a_businesss_key_sees_and_changes_nothing_of_anothers(
    name: str, each: int, data: st.DataObject
) -> None:
    """Whatever ids it names, in the address, the query and the body."""
    world = World(each)
    sees_and_changes_nothing(world, name, *request_of(ROUTES[name], values(world), data.draw))


@every_route
def test_what_stops_a_business_is_whose_key_it_is(name: str) -> None:
    """With the installation's key the same request is done."""
    world = World(1)
    method, (path, body) = ROUTES[name].method, good_request(name, world)
    assert world.host.send(method, path, world.all, body).status < 300
    told = world.host.send(method, path, world.beta, body)
    assert told.status == (200 if name == "api_list_businesses" else 404)


@pytest.mark.parametrize(
    "name", [name for name, route in ROUTES.items() if "<customer_id>" in route.path]
)
def test_a_route_that_nobody_checks_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check, the test above fails for each route about a customer."""
    world = World(1)

    def unchecked(session: Any, handler: Any, call: Call) -> Any:
        return handler(world.host.portal, session, call)

    monkeypatch.setattr(world.host.portal, "_run", unchecked)
    path, body = good_request(name, world)
    if name == "api_link_customer":  # which asks once more, whose the Stripe customer is
        body = {"stripe_customer_id": "cus_free"}
    with pytest.raises(AssertionError):
        sees_and_changes_nothing(world, name, path, body)
