"""Connecting an account by OAuth, from our page to Stripe's and back, and all that can be tried against it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from babel import Locale

from services.portal.domain.connecting import Outcome
from services.portal.handlers import customers as people
from services.portal.web import connect_views
from shared.clock import utc_now
from shared.contracts.accounts import Account
from shared.contracts.rpc.errors import (
    AccountControlled,
    AccountNotConnected,
    CodeRefused,
    InvalidArgument,
    NotFound,
)
from shared.contracts.rpc.portal import CustomerArguments
from tests.contract.stripe_sandbox import Sandbox, account
from tests.fixtures.connecting import Browser, Installation, changed, later

CONNECTED = "Your Stripe account is connected"


@pytest.fixture
def here(sandbox: Sandbox) -> Installation:
    return Installation(sandbox)


@pytest.fixture
def theirs(sandbox: Sandbox) -> str:
    made: str = account(sandbox, connected=None)["id"]
    return made


def test_a_business_connects_its_account(here: Installation, theirs: str) -> None:
    """Looking does nothing; the button leads to Stripe; the answer puts the business on its account, here and at Stripe."""
    browser, link = Browser(here.portal), here.link()
    assert "Acme Billing" in browser.look(link).text
    assert here.wire.calls == []
    leaving = browser.go(link)
    cookie = leaving.headers["Set-Cookie"]
    assert cookie.startswith("__Host-portico-connect=")
    assert all(one in cookie for one in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"))
    assert "scope=read_write" in leaving.location
    done = browser.come_back(here.answer(leaving, theirs))
    assert (done.status, done.headline) == (200, CONNECTED)
    assert here.account_of("sunrise") == theirs
    assert here.connection(theirs) == "test"
    assert here.billing.accounts.directory.why_not_served(Account(theirs)) is None
    assert browser.look(link).headline == CONNECTED
    assert browser.go(link).status == 404


def test_the_page_is_read_again_without_spending_the_code_again(
    here: Installation, theirs: str
) -> None:
    """A reload shows the same page, and asks nobody: a second request with the code would take the connection away."""
    browser = Browser(here.portal)
    back = here.answer(browser.go(here.link()), theirs)
    assert browser.come_back(back).status == 200
    assert browser.come_back(back).headline == CONNECTED
    assert here.wire.calls == ["connect_account"]
    assert here.connection(theirs) == "test"


def test_two_answers_at_once_spend_the_code_once(here: Installation, theirs: str) -> None:
    """Whichever is first: the sandbox, as Stripe, would take the connection away."""
    browser = Browser(here.portal)
    back = here.answer(browser.go(here.link()), theirs)
    shown: list[Any] = []
    at_once = [
        threading.Thread(target=lambda: shown.append(browser.come_back(back))) for _ in range(4)
    ]
    for one in at_once:
        one.start()
    for one in at_once:
        one.join()
    assert here.wire.calls == ["connect_account"]
    assert here.connection(theirs) == "test"
    assert here.account_of("sunrise") == theirs
    assert {one.status for one in shown} <= {200, 409}


def test_an_answer_counts_in_the_browser_that_was_sent(here: Installation, theirs: str) -> None:
    """Without the cookie, or with another's, nothing is connected and nobody's name is told; nor does it count later."""
    browser, stranger = Browser(here.portal), Browser(here.portal)
    back = here.answer(browser.go(here.link()), theirs)
    stranger.go(here.link("bright"))
    for somebody in (Browser(here.portal), stranger):
        shown = somebody.come_back(back)
        assert shown.status == 403
        assert "Sunrise" not in shown.text
    assert browser.come_back(back).status == 409
    assert here.wire.calls == []
    assert here.account_of("sunrise") == ""


def test_a_state_swapped_for_another_business_s_is_refused(here: Installation, theirs: str) -> None:
    """The code of one business's visit with the state of another's, in either's browser, connects nothing."""
    mine, other = Browser(here.portal), Browser(here.portal)
    back = here.answer(mine.go(here.link()), theirs)
    elsewhere = here.answer(other.go(here.link("bright")), theirs)
    state = elsewhere.rpartition("state=")[2]
    assert mine.come_back(changed(back, state=state)).status == 403
    assert mine.come_back(changed(back, state="x" * 43)).status == 403
    assert mine.come_back(changed(back, state="")).status == 403
    assert here.wire.calls == []


class Untouched:
    """A database that nobody may ask."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


@pytest.mark.parametrize("made_up", ["x" * 65, "x" * 43, "", "a link's", "\x00"], ids=repr)
def test_what_nobody_signed_is_refused_without_the_database(
    here: Installation, made_up: str
) -> None:
    """A state, or a link's secret: whoever makes them up by the thousand costs no connection to it."""
    browser, link = Browser(here.portal), here.link()
    back = here.answer(browser.go(link), "acct_any", press="deny")
    state = link.rpartition("/")[2] if made_up == "a link's" else made_up
    here.portal.db = Untouched()
    shown = browser.come_back(changed(back, state=state))
    assert (shown.status, shown.headline) == (403, "We can’t tell whose answer this is")
    forged = f"{link.rpartition('/')[0]}/{'x' * 65}"
    assert (browser.look(forged).status, browser.go(forged).status) == (404, 404)


def test_an_answer_comes_within_ten_minutes(
    here: Installation, theirs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later the code is not even looked at."""
    browser = Browser(here.portal)
    back = here.answer(browser.go(here.link()), theirs)
    later(monkeypatch, minutes=10)
    assert browser.come_back(back).headline == "That took too long"
    assert here.wire.calls == []


def test_a_link_ends(here: Installation, theirs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer one takes its place at once, also for whoever is at Stripe by the old one; and each is over after three days."""
    browser, old = Browser(here.portal), here.link()
    back = here.answer(browser.go(old), theirs)
    new = here.link()
    assert browser.look(old).status == 404
    assert browser.come_back(back).status == 403
    assert browser.look(new).status == 200
    later(monkeypatch, days=3)
    assert browser.look(new).status == 404
    assert browser.go(new).status == 404


def test_the_latest_visit_counts(here: Installation, theirs: str) -> None:
    """Who pressed the button twice comes back from the second time."""
    browser, link = Browser(here.portal), here.link()
    first = here.answer(browser.go(link), theirs)
    second = here.answer(browser.go(link), theirs)
    assert browser.come_back(first).status == 403
    assert browser.come_back(second).status == 200


def test_a_link_connects_one_account_however_many_visits_overlap(
    here: Installation, sandbox: Sandbox, theirs: str
) -> None:
    """While a code is being spent, somebody else with the same link (it was forwarded) goes to Stripe and comes back with another
    account: whoever is first has the business, and the other account is let go again."""
    other = account(sandbox, connected=None)["id"]
    mine, stranger, link = Browser(here.portal), Browser(here.portal), here.link()
    back = here.answer(mine.go(link), theirs)
    shown: list[Any] = []

    def intrude() -> None:
        shown.append(stranger.come_back(here.answer(stranger.go(link), other)))

    here.wire.meanwhile = intrude
    late = mine.come_back(back)
    assert shown[0].headline == CONNECTED
    assert (late.status, late.headline) == (409, "This answer was used already")
    assert here.account_of("sunrise") == other
    assert (here.connection(theirs), here.connection(other)) == (None, "test")
    assert mine.look(link).headline == CONNECTED


@pytest.mark.parametrize("press", ["deny", "connect"])
def test_what_is_connected_stays_so_whatever_an_older_visit_says(
    here: Installation, theirs: str, press: str
) -> None:
    """A second tab that went to Stripe while the first one's code was being spent, and says no there, or brings another code."""
    first, second, link = Browser(here.portal), Browser(here.portal), here.link()
    back, leaving = here.answer(first.go(link), theirs), list[Any]()
    here.wire.meanwhile = lambda: leaving.append(second.go(link))
    assert first.come_back(back).headline == CONNECTED
    assert second.come_back(here.answer(leaving[0], theirs, press=press)).headline == CONNECTED
    assert (first.look(link).headline, first.go(link).status) == (CONNECTED, 404)
    assert here.wire.calls == ["connect_account"]


def test_a_visit_is_not_told_what_became_of_the_one_before(here: Installation, theirs: str) -> None:
    """The first code is refused after the button was pressed again: the second one is spent all the same."""
    browser, link = Browser(here.portal), here.link()
    wrong = changed(here.answer(browser.go(link), theirs), code="ac_unknown")
    leaving: list[Any] = []
    here.wire.meanwhile = lambda: leaving.append(browser.go(link))
    assert browser.come_back(wrong).status == 409
    assert browser.come_back(here.answer(leaving[0], theirs)).headline == CONNECTED
    assert here.account_of("sunrise") == theirs


def test_a_no_changes_nothing(here: Installation, theirs: str) -> None:
    """And the link goes on working."""
    browser, link = Browser(here.portal), here.link()
    shown = browser.come_back(here.answer(browser.go(link), theirs, press="deny"))
    assert (shown.status, shown.headline) == (200, "Nothing was connected")
    assert here.wire.calls == []
    assert browser.come_back(here.answer(browser.go(link), theirs)).headline == CONNECTED


def test_an_account_of_another_business_is_not_connected_twice(
    here: Installation, theirs: str
) -> None:
    """It is said, and the first business keeps its connection."""
    first, second = Browser(here.portal), Browser(here.portal)
    first.come_back(here.answer(first.go(here.link()), theirs))
    shown = second.come_back(here.answer(second.go(here.link("bright")), theirs))
    assert "Another business here has it already" in shown.text
    assert (here.account_of("sunrise"), here.account_of("bright")) == (theirs, "")
    assert here.connection(theirs) == "test"
    assert "disconnect_account" not in here.wire.calls


def test_an_account_that_is_of_no_use_is_let_go_again(here: Installation, sandbox: Sandbox) -> None:
    """The business is linked on the account before: what was just connected is disconnected."""
    with here.portal.db.transaction() as session:
        given = CustomerArguments(
            business_id="sunrise",
            external_id="1",
            name="Ada",
            email="ada@example.com",
            platform_stripe_customer_id="cus_1",
        )
        people.upsert_customer(session, given, utc_now())
    fresh = account(sandbox, connected=None)["id"]
    browser = Browser(here.portal)
    shown = browser.come_back(here.answer(browser.go(here.link()), fresh))
    assert shown.headline == "This account can’t be connected"
    assert here.wire.calls == ["connect_account", "disconnect_account"]
    assert here.connection(fresh) is None
    assert here.billing.accounts.directory.why_not_served(Account(fresh)) is not None


def test_a_lost_answer_is_never_asked_for_again(here: Installation, theirs: str) -> None:
    """It is not known whether it worked; doing it once more is harmless, and puts the business on its account."""
    browser, link = Browser(here.portal), here.link()
    here.wire.lose_answers = True
    shown = browser.come_back(here.answer(browser.go(link), theirs))
    assert (shown.status, here.wire.calls) == (503, ["connect_account"])
    here.wire.lose_answers = False
    assert browser.come_back(here.answer(browser.go(link), theirs)).headline == CONNECTED
    assert here.connection(theirs) == "test"


def test_a_code_is_spent_once_whatever_the_broker_does(here: Installation, theirs: str) -> None:
    """A call that comes twice, as after a crash, is refused without a word to Stripe."""
    browser = Browser(here.portal)
    back = here.answer(browser.go(here.link()), theirs)
    code = back.partition("code=")[2].partition("&")[0]
    assert here.billing.connect_account(code).account == theirs
    with pytest.raises(CodeRefused):
        here.billing.connect_account(code)
    assert here.connection(theirs) == "test"
    assert browser.come_back(back).headline == "We couldn’t finish connecting your account"


@pytest.mark.parametrize("code", ["ac_unknown", "x"])
def test_a_code_that_stripe_does_not_know(here: Installation, code: str) -> None:
    """It is refused, not retried."""
    with pytest.raises(CodeRefused):
        here.billing.connect_account(code)


def test_a_code_that_can_be_none_goes_nowhere(here: Installation) -> None:
    """Neither to Stripe nor into a log."""
    with pytest.raises(InvalidArgument):
        here.billing.connect_account("a b")


def test_stripe_that_does_not_answer_is_asked_once(here: Installation, theirs: str) -> None:
    """The library would send the code three times after a 500 that hides a success; here it may not, or the connection would go."""
    browser = Browser(here.portal)
    back = here.answer(browser.go(here.link()), theirs)
    here.fault(match="POST /oauth/token", status=500, after=True, times=3)
    shown = browser.come_back(back)
    assert (shown.status, shown.headline) == (503, "We couldn’t finish connecting your account")
    assert here.connection(theirs) == "test"
    assert here.faults_left() == 2


def test_an_account_is_let_go(here: Installation, theirs: str) -> None:
    """Here and at Stripe; again, it is gone already; one that nobody knows is told so."""
    browser = Browser(here.portal)
    browser.come_back(here.answer(browser.go(here.link()), theirs))
    assert here.billing.disconnect_account(theirs).fresh
    assert here.connection(theirs) is None
    assert here.billing.accounts.directory.why_not_served(Account(theirs)) is not None
    assert not here.billing.disconnect_account(theirs).fresh
    with pytest.raises(AccountNotConnected):
        here.billing.disconnect_account("acct_nobody")


def test_a_controlled_account_is_let_go_here_alone(here: Installation, sandbox: Sandbox) -> None:
    """Stripe's library doesn't know that refusal, and ours names it."""
    made = account(sandbox, connected="test", controlled="platform")["id"]
    with pytest.raises(AccountControlled):
        here.billing.disconnect_account(made)


def test_nobody_connects_for_a_business_that_is_unknown(here: Installation) -> None:
    """The link is made for one business."""
    with pytest.raises(NotFound):
        here.link("nobody")


def test_each_outcome_has_a_page(here: Installation) -> None:
    """In plain words, with nothing of Stripe's in it."""
    for outcome in Outcome:
        page = connect_views.outcome(outcome, None, Locale("en"), platform="Acme Billing")
        assert "<h1" in page.html
        assert "form-action 'none'" in dict(page.headers)["Content-Security-Policy"]
