"""The sandbox's first page: who is there, what can be made to happen to them, what happened.

``blueprint`` serves it at ``/`` and takes the demo customers at ``/sandbox/demo-customers``.
"""

from sandbox.console.views import blueprint

__all__ = ["blueprint"]
