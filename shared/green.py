"""Imported first in every process: makes the standard library cooperative (eventlet) before anything else
has a chance to keep a reference to the blocking one. Patched late, TLS ends in RecursionError.
"""

import warnings

warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

import eventlet  # noqa: E402

eventlet.monkey_patch()
