"""Cells of CSV files that people open with a spreadsheet, which runs what begins like a formula.

The rule is OWASP's (https://owasp.org/www-community/attacks/CSV_Injection): an apostrophe before such a cell makes it text.
"""

from __future__ import annotations

import re
from typing import Final

FORMULA: Final = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a formula begins, full-width signs included. What has apostrophes before it already gets one more: so each cell can be
read back as it was."""


def guarded(cell: str) -> str:
    """The cell as it is written: never a formula."""
    return f"'{cell}" if FORMULA.match(cell) else cell


def unguarded(cell: str) -> str:
    """The cell that was written as this one."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell[1:]) else cell
