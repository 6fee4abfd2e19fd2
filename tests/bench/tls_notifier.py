"""The notifier as it ships, trusting the bench's own certificate (CA_FILE) in place of the public ones."""

from __future__ import annotations

import shared.green  # noqa: F401  (patches first)

import os  # isort: skip
import sys  # isort: skip

import certifi  # isort: skip

certifi.where = lambda: os.environ["CA_FILE"]

from services.notifier.service import NotifierService  # noqa: E402  isort: skip
from services.notifier.settings import load  # noqa: E402  isort: skip
from shared.runtime import command_line  # noqa: E402  isort: skip

if __name__ == "__main__":
    sys.exit(command_line(NotifierService, load))
