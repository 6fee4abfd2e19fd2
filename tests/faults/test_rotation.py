"""The steps of docs/operations.md, "Rotation", on real servers with the manifests' rights, under load: no request fails."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator

import psycopg2
import pytest
from kombu import Connection

from local.processes import SERVICES
from local.servers import own_folder
from tests.faults.load import MOST_CUSTOMERS, Load, make_visitors
from tests.faults.payloads import invoice_event
from tests.faults.plan import Delivery
from tests.faults.poster import Poster
from tests.faults.system import ProxiedStack, System
from tests.fixtures.least_privilege import PASSWORD, LeastPrivilege

BESIDE = 4.0
ALONE = 2.0

pytestmark = pytest.mark.timeout(600)


class RotatingStack(LeastPrivilege, ProxiedStack):
    """Secrets come from a store that may be written; a process has those of the moment it was made."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.store: dict[str, str] = {}
        """Settings that were stored anew, by name."""

    def env(self, service: str, port: int | None = None) -> dict[str, str]:
        made = super().env(service, port)
        user = self.store.get(f"{service} broker")
        return {
            **made,
            **({"AMQP_URI": user} if user else {}),
            **{name: value for name, value in self.store.items() if name in made},
        }

    def start(self) -> None:
        self.prepare()
        super().start()


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """One process a service, each with a user and roles of its own."""
    folder = own_folder("rotation")
    folder.chmod(0o711)
    with System(folder, replicas={}, kind=RotatingStack) as made:
        made.make_customers(MOST_CUSTOMERS)
        yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def visitors(system: System) -> list[str]:
    """Customers who look at their pages."""
    return make_visitors(system)


@pytest.fixture
def stack(system: System) -> RotatingStack:
    """The system's stack, whose store can be written."""
    assert isinstance(system.stack, RotatingStack)
    return system.stack


def assert_unnoticed(load: Load, system: System) -> None:
    """No request failed, and the books balance."""
    books = load.settle()
    assert load.failed() == {}
    assert books.complaints() == []
    assert system.fell == []


def test_link_keys(system: System, stack: RotatingStack, visitors: list[str]) -> None:
    """First every process verifies with the new key, then they sign with it, then the old one goes; a link in an old
    email opens until then."""
    old = stack.env("portal")["PORTAL_LINK_KEYS"]
    new = secrets.token_hex(32)
    with Load(system, visitors) as load:
        time.sleep(ALONE)
        for keys in (f"{old},{new}", f"{new},{old}"):
            stack.store["PORTAL_LINK_KEYS"] = keys
            load.roll("portal", beside=BESIDE)
            time.sleep(ALONE)
        before = dict(load.links)
        load.write_to_all()
        assert not set(before.values()) & set(load.links.values()), (
            "links are still signed with the old key"
        )
        stack.store["PORTAL_LINK_KEYS"] = new
        load.roll("portal", beside=BESIDE)
        time.sleep(ALONE)
    assert_unnoticed(load, system)
    assert load.open(before[visitors[0]]) == "404", "a link of the old key still opens"
    assert load.open(load.links[visitors[0]]) == "200"


def test_stripes_webhook_secret(system: System, stack: RotatingStack, visitors: list[str]) -> None:
    """Stripe signs with both for a day; the new one is stored beside the old, and alone when the day is over."""
    old, new = stack.webhook_secret, f"whsec_{secrets.token_hex(24)}"
    with Load(system, visitors) as load:
        time.sleep(ALONE)
        load.poster.secrets = (new, old)
        time.sleep(ALONE)
        stack.store["STRIPE_WEBHOOK_SECRETS"] = f"{new},{old}"
        load.roll("billing", beside=BESIDE)
        load.poster.secrets = (new,)
        time.sleep(ALONE)
        stack.store["STRIPE_WEBHOOK_SECRETS"] = new
        load.roll("billing", beside=BESIDE)
        time.sleep(ALONE)
    assert_unnoticed(load, system)
    (billing,) = stack.processes("billing")
    late = Poster([billing.port], old)
    event = invoice_event(
        "invoice.payment_failed", event_id="evt_old", invoice_id="in_old", customer_id="cus_faults0"
    )
    late.post([Delivery(event)])
    system.wait(lambda: bool(late.ledger.answers), 20)
    late.close()
    assert set(late.ledger.answers) == {400}, "the old secret still counts"


def test_database_passwords(system: System, stack: RotatingStack, visitors: list[str]) -> None:
    """A second role that has the first one's rights by membership takes over; then the first one's password changes."""
    with Load(system, visitors) as load:
        time.sleep(ALONE)
        for service in SERVICES:
            role = stack.role(service)
            system.postgres.execute(
                f'CREATE ROLE "{role}_2" LOGIN PASSWORD \'{PASSWORD}\' IN ROLE "{role}"'
            )
            stack.store[f"{service.upper()}_DATABASE_URL"] = stack.role_url(service, f"{role}_2")
        load.roll(*SERVICES, beside=BESIDE)
        users = {row[0] for row in system.rows("portal", "SELECT usename FROM pg_stat_activity")}
        for service in SERVICES:
            assert stack.role(service) not in users
            system.postgres.execute(f"ALTER ROLE \"{stack.role(service)}\" PASSWORD 'another'")
        time.sleep(ALONE)
    assert_unnoticed(load, system)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(stack.role_url("portal", stack.role("portal")))


def test_broker_passwords(system: System, stack: RotatingStack, visitors: list[str]) -> None:
    """A second user with the same three expressions takes over; then the first one's password changes."""
    with Load(system, visitors) as load:
        time.sleep(ALONE)
        stack.add_users("-2")
        for service in SERVICES:
            stack.store[f"{service} broker"] = stack.user_uri(f"{service}-2")
        load.roll(*SERVICES, beside=BESIDE)
        users = system.rabbitmq.ctl("list_connections", "user").split()
        for service in SERVICES:
            assert f"{stack.name}-{service}" not in users
            system.rabbitmq.ctl("change_password", f"{stack.name}-{service}", "another")
        time.sleep(ALONE)
    assert_unnoticed(load, system)
    with (
        pytest.raises(Exception, match="ACCESS_REFUSED"),
        Connection(stack.user_uri("portal")) as one,
    ):
        one.connect()
