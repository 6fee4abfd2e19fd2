"""`python -m services.billing [serve|migrate|wait-migrated|prune]`. What else there is to do: `portico stripe`, `portico events`."""

import shared.nameko_ext.green  # noqa: F401, I001 (first: it patches the standard library)

import sys

from services.billing.retention import RULES
from services.billing.service import BillingService
from services.billing.settings import load
from shared.nameko_ext.pruning import prune_command
from shared.nameko_ext.runtime import command_line

if __name__ == "__main__":
    sys.exit(command_line(BillingService, load, {"prune": prune_command("billing", RULES)}))
