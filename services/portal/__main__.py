"""`python -m services.portal [serve|migrate|wait-migrated|prune]`."""

import shared.nameko_ext.green  # noqa: F401, I001 (first: everything after it is cooperative)

import sys

from services.portal.retention import RULES
from services.portal.service import PortalService
from services.portal.settings import load
from shared.nameko_ext.pruning import prune_command
from shared.nameko_ext.runtime import command_line

if __name__ == "__main__":
    sys.exit(command_line(PortalService, load, {"prune": prune_command("portal", RULES)}))
