"""A service that dies, by SIGKILL, at one named point between two side effects. For tests: `DYING_SERVICE` and `DYING_AT`.

The real service runs; one function at the point is wrapped. Nothing of this is in production code.
"""

import shared.nameko_ext.green  # noqa: F401, I001  (patches the standard library first)

import functools
import importlib
import os
import signal
import sys
from typing import Any

from shared.nameko_ext.runtime import command_line
from tests.faults.points import POINTS, RECOVERY_POINTS, Point


def arm(point: Point) -> None:
    """Wrap the point's function."""
    owner: Any = importlib.import_module(point.module)
    *path, name = point.function.split(".")
    for part in path:
        owner = getattr(owner, part)
    original = getattr(owner, name)

    @functools.wraps(original)
    def dying(*args: Any, **kwargs: Any) -> Any:
        if point.before:
            if point.matters(args, None):
                _die()
            return original(*args, **kwargs)
        result = original(*args, **kwargs)
        if point.matters(args, result):
            _die()
        return result

    setattr(owner, name, dying)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    """Serve the real service with one point armed."""
    name = os.environ["DYING_SERVICE"]
    service_module = importlib.import_module(f"services.{name}.service")
    settings = importlib.import_module(f"services.{name}.settings")
    arm((POINTS | RECOVERY_POINTS)[os.environ["DYING_AT"]])
    service = getattr(service_module, f"{name.capitalize()}Service")
    return command_line(service, settings.load, argv=["serve"])


if __name__ == "__main__":
    sys.exit(main())
