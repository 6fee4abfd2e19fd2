"""Which calls are audited, and that nothing private is named in their lines."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from services.billing.service import BillingService
from services.notifier.service import NotifierService
from services.portal.service import PortalService
from shared.nameko_ext.rpc import CheckedRpc
from tests.unit.portal.api_host import routes

SERVICES = (PortalService, BillingService, NotifierService)
PLAIN = {
    "account", "action", "addresses", "after", "business_id", "customer_id", "dry_run", "event_id", "failed_since", "invoice_id", "key_id", "kind", "mode", "notification_id", "notification_ids",
    "enabled", "endpoint_id", "on_behalf_of", "event_types", "failed_only", "until",
    "customers", "proposal_ids", "queue", "recipients", "per_hour", "request_id", "rows", "scopes", "since", "stripe_customer_id", "withdraw_only",
}  # fmt: skip
"""Ids, words of a set, moments, numbers, and lists that are counted."""


def audited() -> dict[str, tuple[set[str], set[str]]]:
    """Each audited method: the arguments in its line, and all that it has."""
    return {
        f"{service.name}.{name}": (set(one._audited), set(inspect.signature(method).parameters))
        for service in SERVICES
        for name, method in inspect.getmembers(service, inspect.isfunction)
        for one in getattr(method, "nameko_entrypoints", ())
        if isinstance(one, CheckedRpc) and one._audited is not None
    }


def test_the_lines_name_ids_of_arguments_that_exist() -> None:
    """No argument that may hold a name, an address or a text."""
    for method, (named, taken) in audited().items():
        assert named <= taken & PLAIN, method
    for name, route in routes():
        given = route.body or route.query
        fields = given.__struct_fields__ if given else ()
        assert set(route.audited or ()) <= {*fields} & PLAIN, name


def test_the_page_says_what_is_audited() -> None:
    """docs/operations.md lists each audited call, and no other."""
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    section = page.split("### Who did what", 1)[1].split("\n#", 1)[0]
    listed = set(re.findall(r"`((?:portal|billing|notifier)\.[a-z_]+)`", section))
    assert listed == set(audited())
