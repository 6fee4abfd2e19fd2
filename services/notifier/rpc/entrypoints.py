"""What the notifier's entrypoints share: the things that are injected, and the moment."""

from __future__ import annotations

from typing import Any

from services.notifier.domain.addresses import AddressHasher
from services.notifier.emails.rendering import Renderer
from shared.nameko_ext.database import Database
from shared.nameko_ext.loops import Waker


class NotifierEntrypoints:
    """Base of the notifier's entrypoints. The service, which mixes them together, injects what is declared here."""

    db: Database
    portal: Any
    hasher: AddressHasher
    renderer: Renderer
    sendgrid: Any
    """Has the `SendGridMailer` as `mailer`."""
    places: Any
    observes: Any
    """Whether the whole installation does (`MODE`)."""
    wake: Waker
