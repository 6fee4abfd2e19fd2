"""Who answers gives up before who waits."""

from __future__ import annotations

from itertools import pairwise

import pytest

from services.billing import service as billing
from services.billing.rpc import invoice_reports as looking_service
from services.notifier.adapters.sendgrid.time_limit import POST_SECONDS
from services.notifier.domain.sending import LEASE
from services.notifier.service import NotifierService
from services.portal.service import PortalService
from shared.contracts import deadlines
from shared.nameko_ext.http_server import DRAIN_SECONDS
from shared.nameko_ext.runtime import GRACE_SECONDS

WAY_BACK = 0.25
"""What an answer may take on its way, through a broker and two busy processes."""


@pytest.mark.parametrize("waits", deadlines.ORDER)
def test_a_wait_ends_inside_the_one_around_it(waits: tuple[float, ...]) -> None:
    """With enough left for the answer to be heard: else the caller has a timeout in place of a reason."""
    for inner, outer in pairwise(waits):
        assert inner + WAY_BACK <= outer


def test_services_wait_as_the_table_says() -> None:
    """The table is what the services do, and not a copy of it."""
    assert PortalService.billing.timeout == deadlines.PORTAL_WAITS_FOR_BILLING
    assert PortalService.notifier.timeout == deadlines.PORTAL_WAITS_FOR_NOTIFIER
    assert NotifierService.portal.timeout == deadlines.NOTIFIER_WAITS_FOR_PORTAL
    assert NotifierService.billing.timeout == deadlines.NOTIFIER_WAITS_FOR_BILLING
    assert billing.STRIPE_AT_A_CALL == deadlines.STRIPE_AT_A_CALL
    assert looking_service.STRIPE_AT_MANY == deadlines.STRIPE_AT_MANY


def test_an_email_is_sent_and_recorded_within_its_lease() -> None:
    """One sender looks up contact and invoice, sends and records before another may take the email for abandoned."""
    looked_up = deadlines.NOTIFIER_WAITS_FOR_PORTAL + deadlines.NOTIFIER_WAITS_FOR_BILLING
    assert looked_up + POST_SECONDS < LEASE.total_seconds()


def test_requests_are_answered_before_the_process_ends() -> None:
    """At SIGTERM the web server drains within the time that the process gives itself, a click's included."""
    assert deadlines.CLICK < DRAIN_SECONDS < GRACE_SECONDS
