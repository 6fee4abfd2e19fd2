"""Every statement that the notifier sends to its database.

Locks are taken in one order everywhere, an incident before its notifications, so that an event, a sender and
SendGrid's webhook can meet at one invoice without a deadlock.
"""
