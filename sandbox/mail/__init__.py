"""Plays SendGrid and the customer's mailbox: accepts mails, shows them, reports on them.

``Mailbox`` keeps the mails and speaks SendGrid's Event Webhook; ``blueprint`` puts it on HTTP:
``/v3/mail/send`` for the sender, ``/inbox`` for a person, ``/inbox.json`` for a test.
"""

from sandbox.mail.mailbox import Mail, Mailbox
from sandbox.mail.views import blueprint

__all__ = ["Mail", "Mailbox", "blueprint"]
