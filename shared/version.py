"""Which release this is: the one place that says it, for the package, `portico --version` and metrics."""

from __future__ import annotations

from typing import Final

VERSION: Final = "1.0.0"
"""As the heading of CHANGELOG.md has it, `MAJOR.MINOR.PATCH`."""
