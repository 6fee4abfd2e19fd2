"""`python -m services.billing [serve|migrate|wait-migrated|portal-config]`."""

import argparse
import datetime as dt
import sys

import shared.green  # noqa: F401  (first: it patches the standard library)
from services.billing.domain import (
    BillingError,
    PortalConfiguration,
    PortalPolicy,
    configuration_key,
)
from services.billing.handlers import portal
from services.billing.service import BillingService
from services.billing.settings import Settings, load
from services.billing.stripe_gateway import StripeGateway
from shared.database import Transactions, make_engine
from shared.runtime import ServiceSettings, command_line


def portal_config(settings: ServiceSettings, words: list[str]) -> int:
    """Make, change or show the Billing Portal configuration that customers get; prints what they may do."""
    parser = argparse.ArgumentParser(
        prog="python -m services.billing portal-config",
        description="Make or change the Stripe Billing Portal configuration that Portico's customers get. "
        "Without --allow it is conservative: update the card, see invoices, nothing else.",
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        choices=["cancel", "pause"],
        help="let customers cancel (at the end of the period) or pause by themselves; may be repeated",
    )
    parser.add_argument("--business", metavar="ID", help="for this business alone")
    parser.add_argument("--show", action="store_true", help="only look, change nothing")
    chosen = parser.parse_args(words)
    if not isinstance(settings, Settings):
        raise TypeError("these are not billing's settings")
    key = configuration_key(chosen.business)
    fixed = settings.stripe_portal_configuration
    policy = PortalPolicy(cancel="cancel" in chosen.allow, pause="pause" in chosen.allow)
    engine = make_engine(settings.database_url.reveal())
    gateway = StripeGateway(settings.stripe_api_key.reveal(), settings.stripe_api_base)
    database = Transactions(engine)
    try:
        if chosen.show:
            found = portal.look_up_configuration(database, gateway, key, fixed)
        elif fixed is not None:
            print(
                f"STRIPE_PORTAL_CONFIGURATION is set to {fixed}: Portico does not change it. "
                "Look at it with --show, or unset the variable.",
                file=sys.stderr,
            )
            return 1
        else:
            now = dt.datetime.now(dt.UTC)
            found = portal.ensure_configuration(database, gateway, key, policy=policy, now=now)
    except BillingError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    finally:
        gateway.close()
        engine.dispose()
    print(describe(found, key))
    return 0


def describe(found: PortalConfiguration, key: str) -> str:
    """A configuration for people: what a customer may do on Stripe's page."""
    lines = [f"{found.id} ({'live' if found.livemode else 'test'} mode, {key})", "Customers may:"]
    lines += [f"  {'yes' if allowed else 'no ':3}  {words}" for words, allowed in found.describe()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(command_line(BillingService, load, {"portal-config": portal_config}))
