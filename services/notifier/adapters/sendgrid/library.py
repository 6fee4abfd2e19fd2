"""What is used of the sendgrid library: its messages, and the reader of its signed webhook.

The library loads both at once, and cryptography with the reader: 7 MB, which a process has only once a webhook has come.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Final

READER: Final = "sendgrid.helpers.eventwebhook"

_nothing = ModuleType(READER)
sys.modules.setdefault(READER, _nothing)
from sendgrid.helpers.mail import (  # noqa: E402, TID251
    Category,
    ClickTracking,
    CustomArg,
    From,
    HtmlContent,
    OpenTracking,
    PlainTextContent,
    ReplyTo,
    SubscriptionTracking,
    To,
    TrackingSettings,
)
from sendgrid.helpers.mail import Mail as SendGridMail  # noqa: E402, TID251

if sys.modules[READER] is _nothing:
    del sys.modules[READER]

__all__ = [
    "Category",
    "ClickTracking",
    "CustomArg",
    "From",
    "HtmlContent",
    "OpenTracking",
    "PlainTextContent",
    "ReplyTo",
    "SendGridMail",
    "SubscriptionTracking",
    "To",
    "TrackingSettings",
    "event_webhook",
]


def event_webhook(public_key: str) -> Any:
    """The library's reader of webhooks that this key signs. Raises ValueError when it is no key."""
    from sendgrid.helpers.eventwebhook import EventWebhook  # noqa: TID251

    return EventWebhook(public_key)
