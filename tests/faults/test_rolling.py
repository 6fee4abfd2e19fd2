"""An old and a new version side by side, there and back, under load. `ROLL_FROM` names the commit to upgrade from."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.host_app import Portico
from local.processes import SERVICES
from local.python_process import REPOSITORY
from local.servers import own_folder
from shared.events import CustomerEvidenceChanged
from shared.messaging.topology import RPC_EXCHANGE
from tests.faults.load import MOST_CUSTOMERS, Load, make_visitors
from tests.faults.releases import NoHistory, export, release_before
from tests.faults.system import ProxiedStack, System
from tests.fixtures import least_privilege
from tests.fixtures.least_privilege import LeastPrivilege
from tests.fixtures.webhooks import deliver, golden

SIDE_BY_SIDE = 8.0
ALONE = 4.0

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The code of the release before."""
    try:
        commit = release_before()
    except NoHistory as reason:
        pytest.skip(str(reason))
    print(f"\nupgrading from {commit[:12]}")
    return export(commit, tmp_path / "old")


class UpgradingStack(LeastPrivilege, ProxiedStack):
    """With the manifests' users, which have the rights of both releases until they are narrowed."""

    rights = staticmethod(least_privilege.while_upgrading)

    def start(self) -> None:
        self.prepare()
        super().start()


@pytest.fixture
def system(old: Path, request: pytest.FixtureRequest) -> Iterator[System]:
    """The release before, running. Its host applications call on the exchange of the services."""
    folder = own_folder("rolling")
    folder.chmod(0o711)
    made = System(folder, replicas={}, kind=request.param)
    made.stack.code = old
    made.calls_on = RPC_EXCHANGE
    with made:
        made.make_customers(MOST_CUSTOMERS)
        yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("system", [ProxiedStack], indirect=True)
def test_rolling_to_this_version_and_back_loses_nothing(system: System, old: Path) -> None:
    """As docs/operations.md has it: new pods wait while the schema is behind, migrate under the old version, new beside old, old
    ends; and all the way back, where the schema is ahead: what migrates and what waits for it succeeds."""
    stack = system.stack
    with Load(system, make_visitors(system)) as load:
        time.sleep(ALONE)
        stack.code = REPOSITORY
        behind = [stack.command(service, "wait-migrated") for service in SERVICES]
        time.sleep(ALONE)
        stack.migrate()
        assert [one.wait(60) for one in behind] == [0, 0, 0], "new code does not see its schema"
        time.sleep(ALONE)
        load.roll(*SERVICES, beside=SIDE_BY_SIDE)
        time.sleep(ALONE)
        stack.code = old
        for command in ("migrate", "wait-migrated"):
            done = [stack.command(service, command) for service in SERVICES]
            assert [one.wait(60) for one in done] == [0, 0, 0], f"{command}: the schema is ahead"
        load.roll(*SERVICES, beside=SIDE_BY_SIDE)
        time.sleep(ALONE)
    books = load.settle()
    assert load.failed() == {}
    assert books.complaints() == []
    assert books.doubled_after_lost_answer == []
    assert system.fell == []


@pytest.mark.parametrize("system", [ProxiedStack], indirect=True)
def test_the_step_after_the_roll_loses_nothing(system: System) -> None:
    """`migrate` under the old version leaves its keys alone; once all is new, `migrate --after-roll` makes them anew while
    webhooks, pages and emails go on."""
    stack = system.stack

    def contracted() -> list[bool]:
        key = "SELECT count(*) FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = %(name)s AND indnatts > 1"
        tables = {"billing": "inbox", "portal": "invoices", "notifier": "incidents"}
        found = [system.rows(one, key, name=f"pk_{tables[one]}") for one in SERVICES]
        return [rows == [(1,)] for rows in found]

    if any(contracted()):
        pytest.skip("a database that the release before makes has the new keys from the beginning")
    with Load(system, make_visitors(system)) as load:
        time.sleep(ALONE)
        stack.code = REPOSITORY
        stack.migrate()
        time.sleep(ALONE)
        load.roll(*SERVICES, beside=ALONE)
        assert not any(contracted())
        last = [stack.command(service, "migrate", "--after-roll") for service in SERVICES]
        assert [one.wait(120) for one in last] == [0, 0, 0], [one.tail() for one in last]
        assert all(contracted())
        time.sleep(ALONE)
    books = load.settle()
    assert load.failed() == {}
    assert books.complaints() == []
    assert books.doubled_after_lost_answer == []
    assert not [name for name in system.waiting() if name.endswith(".dead")]
    assert system.fell == []


@pytest.mark.parametrize("system", [UpgradingStack], indirect=True)
def test_rights_are_narrowed_after_the_upgrade_and_widened_before_the_way_back(
    system: System, old: Path
) -> None:
    """The steps of docs/operations.md: the rights of both releases, the roll, hosts on their own exchange, this release's rights
    alone; then all of it backwards. No request fails."""
    stack = system.stack
    assert isinstance(stack, UpgradingStack)
    theirs = system.calls_on
    with Load(system, make_visitors(system)) as load:
        time.sleep(ALONE)
        stack.code = REPOSITORY
        stack.migrate()
        load.roll(*SERVICES, beside=SIDE_BY_SIDE)
        system.calls_on = System.calls_on
        time.sleep(ALONE)
        stack.rights = least_privilege.rights  # type: ignore[method-assign]
        stack.add_users()
        load.roll(*SERVICES, beside=ALONE)
        for name, text in stack.logs().items():
            assert "ACCESS_REFUSED" not in text, name
        stack.rights = least_privilege.while_upgrading  # type: ignore[method-assign]
        stack.add_users()
        system.calls_on = theirs
        time.sleep(ALONE)
        stack.code = old
        load.roll(*SERVICES, beside=SIDE_BY_SIDE)
        time.sleep(ALONE)
    books = load.settle()
    assert load.failed() == {}
    assert books.complaints() == []


@pytest.mark.parametrize("system", [ProxiedStack], indirect=True)
def test_evidence_waits_for_a_portal_that_knows_it(system: System, old: Path) -> None:
    """Beside a new billing an old portal links nobody by a stranger's word and gives nothing up; what metadata says is there
    when the new portal comes."""
    if CustomerEvidenceChanged.type in (old / "shared" / "events.py").read_text():
        pytest.skip("the release before knows evidence")
    stack = system.stack
    stack.code = REPOSITORY
    stack.migrate()
    before, billings = system.succeed("billing")
    assert set(system.retire(before)) == {0}
    with Portico(stack.amqp_uri) as host:
        customer_id = host.call(
            "portal",
            "upsert_customer",
            business_id="faults",
            external_id="new",
            name="New Ned",
            email="ned@example.com",
        )["customer_id"]
    created = golden("customer.created", "", metadata={"customer_id": customer_id})
    for event in (
        golden("checkout.session.completed", "cus_stranger", client_reference_id=customer_id),
        created,
    ):
        url = f"http://127.0.0.1:{billings[0].port}"
        secret = stack.env("billing")["STRIPE_WEBHOOK_SECRETS"]
        assert deliver(url, event, secret).status_code == 200

    def linked_with() -> str | None:
        statement = (
            "SELECT platform_stripe_customer_id FROM customers WHERE public_id = %(customer_id)s"
        )
        ((stripe_id,),) = system.rows("portal", statement, customer_id=customer_id)
        return str(stripe_id) if stripe_id else None

    time.sleep(ALONE)
    assert linked_with() is None
    assert not [name for name in system.waiting() if name.endswith(".dead")]
    before, _ = system.succeed("portal")
    assert set(system.retire(before)) == {0}
    system.wait(lambda: linked_with() == created["data"]["object"]["id"], within=30)
    assert system.rows("portal", "SELECT refused FROM link_evidence WHERE refused IS NOT NULL") == [
        ("not_signed",)
    ]
    assert system.fell == []
