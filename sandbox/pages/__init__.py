"""Plays Stripe's hosted Billing Portal: the page behind a portal session's URL.

``blueprint`` serves it under ``/p/session/…``. It works through the sandbox's own Stripe API, so a
card changed here is changed for every client, with the events that follow.
"""

from sandbox.pages.views import blueprint

__all__ = ["blueprint"]
