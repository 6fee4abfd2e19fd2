"""On which Stripe account a business is, and what becomes of its customers when that changes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.portal.handlers import customers
from services.portal.handlers.business_accounts import assign_account
from services.portal.models import (
    BusinessRow,
    CustomerRow,
    HostEventRow,
    LinkConflictRow,
    OutboxEvent,
    merchant_of,
)
from services.portal.ports import AccountSeen, BillingUnavailable
from services.portal.workflows.business_accounts import check_account
from shared.contracts.accounts import OWN, Account, Merchant
from shared.contracts.rpc.errors import InvalidArgument, NotFound, TemporarilyUnavailable
from shared.contracts.rpc.portal import BusinessArguments
from shared.events import decode
from tests.unit.portal.api_host import ApiHost
from tests.unit.portal.builders import (
    NOW,
    add_business,
    add_customer,
    says,
    stripe_id_of,
    take_in,
)

FIRST, SECOND, PLATFORM = Account("acct_1"), Account("acct_2"), Account("acct_p")


def upsert(session: Session, business_id: str = "sunrise", **given: Any) -> Merchant:
    made = BusinessArguments(business_id=business_id, **{"name": "Sunrise", **given})
    customers.upsert_business(session, made, NOW)
    session.flush()
    rows = session.scalars(select(BusinessRow).where(BusinessRow.business_id == business_id))
    return merchant_of(rows.one())


def of_customers(session: Session) -> set[Merchant]:
    session.expire_all()
    return {merchant_of(row) for row in session.scalars(select(CustomerRow))}


@pytest.mark.whole
def test_what_is_omitted_stays_and_null_means_the_own_account(session: Session) -> None:
    """As every argument of a business."""
    assert upsert(session) == Merchant(OWN)
    assert upsert(session, stripe_account=PLATFORM) == Merchant(PLATFORM)
    assert upsert(session, on_behalf_of="acct_1") == Merchant(PLATFORM, "acct_1")
    assert upsert(session, name="Sunrise") == Merchant(PLATFORM, "acct_1")
    assert upsert(session, on_behalf_of=None) == Merchant(PLATFORM)
    assert upsert(session, stripe_account=None) == Merchant(OWN)


def test_customers_follow_their_business(session: Session) -> None:
    """Those who are there, and those who come."""
    upsert(session)
    add_customer(session, "c1")
    upsert(session, stripe_account=PLATFORM, on_behalf_of="acct_1")
    add_customer(session, "c2")
    assert of_customers(session) == {Merchant(PLATFORM, "acct_1")}


@pytest.mark.parametrize("wrong", ["", "1Nv0FGQ9RKHgCVdK", "cus_1", "acct_", "acct_1/x", "acct_ 1"])
@pytest.mark.parametrize("field", ["stripe_account", "on_behalf_of"])
def test_what_is_no_account_is_refused(session: Session, field: str, wrong: str) -> None:
    """By name, and with an example."""
    with pytest.raises(InvalidArgument, match=f"{field}: expected Stripe's id of an account"):
        upsert(session, **{field: wrong})


def test_no_platform_charges_on_its_own_behalf(session: Session) -> None:
    """It would be a second name for the same."""
    with pytest.raises(InvalidArgument, match="on_behalf_of: this is stripe_account itself"):
        upsert(session, stripe_account=FIRST, on_behalf_of=FIRST)


@pytest.mark.whole
def test_two_businesses_share_an_account_only_each_with_a_behalf_of_its_own(
    session: Session,
) -> None:
    """Or each would see what the other's customers owe. The installation's own account is shared, as ever."""
    upsert(session, "a", stripe_account=FIRST)
    with pytest.raises(InvalidArgument, match="stripe_account: another business has this account"):
        upsert(session, "b", stripe_account=FIRST)
    assert upsert(session, "b", stripe_account=FIRST, on_behalf_of="acct_b")
    with pytest.raises(InvalidArgument, match="on_behalf_of: another business has this account"):
        upsert(session, "c", stripe_account=FIRST, on_behalf_of="acct_b")
    assert upsert(session, "c", on_behalf_of="acct_b") == Merchant(OWN, "acct_b")
    assert upsert(session, "d") == upsert(session, "e") == Merchant(OWN)
    assert upsert(session, "a", stripe_account=FIRST) == Merchant(FIRST)


@pytest.mark.whole
def test_a_change_is_refused_while_customers_are_linked(session: Session) -> None:
    """A typing error would else take everybody's button away; the error says how many they are, and what to do."""
    upsert(session)
    mine = add_customer(session, platform_stripe_customer_id="cus_1").customer_id
    for given in ({"stripe_account": FIRST}, {"on_behalf_of": "acct_b"}):
        (field,) = given
        with pytest.raises(
            InvalidArgument, match=f"{field}: 1 customers are linked.*release_links"
        ):
            upsert(session, **given)
    assert (stripe_id_of(session, mine), of_customers(session)) == ("cus_1", {Merchant(OWN)})


@pytest.mark.whole
def test_whoever_lets_links_go_has_them_again_when_they_come_back(session: Session) -> None:
    """What was said on an account is kept, and counts there alone: links of every source, one that nobody has spoken of, too."""
    upsert(session)
    said = {
        "host": add_customer(session, "c1", platform_stripe_customer_id="cus_1").customer_id,
        "metadata": add_customer(session, "c2").customer_id,
        "unknown": add_customer(session, "c3").customer_id,
    }
    take_in(session, says("c2", "cus_2", business="sunrise"))
    row = session.scalars(select(CustomerRow).where(CustomerRow.external_id == "c3")).one()
    row.platform_stripe_customer_id = "cus_3"
    before = {name: stripe_id_of(session, one) for name, one in said.items()}
    assert before == {"host": "cus_1", "metadata": "cus_2", "unknown": "cus_3"}
    upsert(session, stripe_account=FIRST, release_links=True)
    assert {stripe_id_of(session, one) for one in said.values()} == {None}
    told = [decode(one.body).data for one in session.scalars(select(OutboxEvent))][-3:]
    assert {(one.previous_stripe_customer_id, one.stripe_customer_id) for one in told} == {  # type: ignore[attr-defined]
        ("cus_1", None),
        ("cus_2", None),
        ("cus_3", None),
    }
    upsert(session, stripe_account=None)
    assert {name: stripe_id_of(session, one) for name, one in said.items()} == before
    # Whoever lists events over HTTP hears the same.
    queued, listed = (
        sorted(session.scalars(select(table.event_id))) for table in (OutboxEvent, HostEventRow)
    )
    assert queued == listed


@pytest.mark.whole
def test_what_was_said_on_the_new_account_before_decides(session: Session) -> None:
    """Stripe may have named customers there before the business came."""
    upsert(session)
    ours, hosts = (add_customer(session, one).customer_id for one in ("c1", "c2"))
    for names, business, stripe_id in ((ours, None, "cus_7"), ("c2", "sunrise", "cus_8")):
        take_in(session, says(names, stripe_id, business=business, account=FIRST))
    assert (stripe_id_of(session, ours), stripe_id_of(session, hosts)) == (None, None)
    upsert(session, stripe_account=FIRST)
    assert (stripe_id_of(session, ours), stripe_id_of(session, hosts)) == ("cus_7", "cus_8")


@pytest.mark.whole
def test_what_a_business_leaves_behind_is_anothers(session: Session) -> None:
    """Whom it had in conflict with another business's customer is the other's then, and the conflict is over."""
    upsert(session)
    add_business(session, "other")
    mine = add_customer(session).customer_id
    theirs = add_customer(session, business_id="other").customer_id
    take_in(session, says(mine))
    take_in(session, says(theirs, object_id="sub_1", at=NOW.replace(hour=19)))
    assert (stripe_id_of(session, mine), stripe_id_of(session, theirs)) == ("cus_1", None)
    upsert(session, stripe_account=FIRST, release_links=True)
    assert (stripe_id_of(session, mine), stripe_id_of(session, theirs)) == (None, "cus_1")
    assert None not in session.scalars(select(LinkConflictRow.resolved_at)).all()


def test_an_unknown_business_is_not_found(session: Session) -> None:
    """For whoever connects an account and comes back after it was taken away."""
    with pytest.raises(NotFound):
        assign_account(session, "nobody", FIRST, "", NOW)


class FakeAccounts:
    """Billing, as far as accounts go."""

    def __init__(self, **known: AccountSeen) -> None:
        self.known, self.asked = known, 0

    def account(self, account: Account) -> AccountSeen:
        self.asked += 1
        if account == "acct_away":
            raise BillingUnavailable("RpcTimeout")
        return self.known.get(account, AccountSeen(served=False))


def test_an_account_that_portico_does_not_work_on_is_refused() -> None:
    """Unknown, disconnected or of the other mode: each error says which, and what to do. What a business has already is not asked about."""
    host = ApiHost()
    billing: Any = FakeAccounts(
        acct_good=AccountSeen(served=True, livemode=False),
        acct_gone=AccountSeen(served=False, disconnected=True, livemode=False),
        acct_keyless=AccountSeen(served=False, disconnected=True, own_key=True, livemode=False),
        acct_live=AccountSeen(served=False, livemode=True),
    )

    def check(account: str | None) -> None:
        given = BusinessArguments(business_id="sunrise", name="Sunrise", stripe_account=account)
        check_account(host.db, billing, given)

    for account, error in {
        "acct_new": "not connected to it; connect it first: portico stripe connect --business sunrise",
        "acct_gone": "it is disconnected; connect it again: portico stripe connect --business sunrise",
        "acct_keyless": "its key is no longer in STRIPE_ACCOUNTS_FILE",
        "acct_live": "it was connected in live mode, and this installation's key is of test mode",
    }.items():
        with pytest.raises(InvalidArgument, match=f"stripe_account: .*{error}"):
            check(account)
    with pytest.raises(TemporarilyUnavailable, match="try again"):
        check("acct_away")
    check("acct_good")
    with host.db.transaction() as session:
        upsert(session, stripe_account="acct_gone")
    asked = billing.asked
    check("acct_gone")
    check(None)
    check_account(host.db, billing, BusinessArguments(business_id="sunrise", name="Sunrise"))
    assert billing.asked == asked


def test_only_the_installations_key_says_on_which_account_a_business_is() -> None:
    """One business could else point itself at another's account; what it has it may say again."""
    host = ApiHost()
    state = {"account": "acct_1", "served": True, "state": "connected", "livemode": False}
    host.portal.billing = SimpleNamespace(
        stripe_account=lambda account: {**state, "account": account}
    )
    given = {"business_id": "sunrise", "name": "Sunrise"}
    both = {"stripe_account": "acct_1", "on_behalf_of": "acct_2"}
    host.ok("POST", "/businesses", host.key(), given | both)
    own = host.key("sunrise")
    for other in (
        {"stripe_account": "acct_3"},
        {"stripe_account": None},
        {"on_behalf_of": "acct_3"},
        {"on_behalf_of": None},
    ):
        told = host.send("POST", "/businesses", own, given | other)
        assert (told.status, told.json["code"]) == (403, "installation_key_required")
    host.ok("POST", "/businesses", own, given | both)
    found = host.ok("GET", "/businesses/sunrise", own)
    assert {name: found[name] for name in both} == both


def test_an_account_is_asked_about_before_anything_is_written() -> None:
    """Also where the request has an Idempotency-Key; then it may be made again."""
    host = ApiHost()
    served = {"acct_1": False}
    host.portal.billing = SimpleNamespace(
        stripe_account=lambda account: {"account": account, "served": served[account]}
    )
    key, given = (
        host.key(),
        {"business_id": "sunrise", "name": "Sunrise", "stripe_account": "acct_1"},
    )
    for headers in ({}, {"Idempotency_Key": "1"}):
        told = host.send("POST", "/businesses", key, given, **headers)
        assert (told.status, told.json["errors"][0]["field"]) == (400, "stripe_account")
        assert host.send("GET", "/businesses/sunrise", key).status == 404
    served["acct_1"] = True
    host.ok("POST", "/businesses", key, given, Idempotency_Key="1")
