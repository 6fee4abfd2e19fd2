"""The notifier's part of `portico doctor`: its settings and the SendGrid account. Only looks, sends nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final, Protocol

from portico.cli.findings import Finding, Level, ask, finding, ok, unknown
from services.notifier.adapters.sendgrid.account import SendGridTrouble
from services.notifier.adapters.sendgrid.sender_domains import is_of
from services.notifier.queries import hook_endpoints
from services.notifier.settings import SENDGRID, Settings
from shared.database import Transactions

AREA: Final = "sendgrid"
HOOKS: Final = "webhooks"
MOST_NAMED: Final = 10
EU: Final = "https://api.eu.sendgrid.com"


class MailAccount(Protocol):
    """The SendGrid account, as far as the checks read it. Raises SendGridTrouble."""

    def scopes(self) -> set[str]: ...
    def may_send_from(self, address: str) -> bool: ...
    def authenticated_domains(self) -> Collection[str]: ...
    def click_tracking(self) -> bool: ...


def check_sendgrid(settings: Settings, account: MailAccount) -> Iterator[Finding]:
    """Everything that can be seen of SendGrid, and of what is kept of its reports."""
    if not settings.address_hash_keys:
        yield finding(
            AREA,
            "address-key",
            "ADDRESS_HASH_KEY is not set: bounced addresses are kept under a plain hash, which guessing undoes; the next "
            "release does not start without it",
            "make one with `openssl rand -hex 32` and keep it as long as the database",
        )
    key = check_mail_key(account)
    yield key
    if key.level is Level.UNKNOWN or (key.level is Level.FINDING and key.code == "sendgrid-key"):
        return  # it answers nothing else either
    yield check_sender(settings.mail_from, account)
    yield _clicks(account)
    if settings.sendgrid_webhook_public_key is None:
        yield finding(
            AREA,
            "sendgrid-webhook",
            "SENDGRID_WEBHOOK_PUBLIC_KEY is not set: bounces are not heard of, and a time-out stays unsettled",
            "switch on the signed Event Webhook to …/webhooks/sendgrid and set its verification key",
        )
    else:
        yield ok(AREA, "sendgrid-webhook", "the Event Webhook's verification key is set")
    if settings.sendgrid_api_base not in (SENDGRID, EU) and settings.sendgrid_api_base.startswith(
        "https"
    ):
        yield finding(
            AREA,
            "sendgrid-base",
            f"SENDGRID_API_BASE is {settings.sendgrid_api_base}: not SendGrid's",
            f"unset it, or set {EU} for the EU",
        )


def check_mail_key(account: MailAccount) -> Finding:
    """Whether SendGrid takes the key, and lets it send."""
    try:
        scopes = account.scopes()
    except SendGridTrouble as trouble:
        if trouble.refused:
            return finding(
                AREA,
                "sendgrid-key",
                f"SendGrid does not take the key: {trouble}",
                "make a new API key with the right to send mail and set SENDGRID_API_KEY",
            )
        return unknown(
            AREA,
            "sendgrid-unreachable",
            str(trouble),
            "look at SENDGRID_API_BASE, the network and status.sendgrid.com, then run this again",
        )
    if "mail.send" in scopes:
        return ok(AREA, "sendgrid-key", "the key may send mail")
    return finding(
        AREA,
        "sendgrid-no-send",
        "the key may not send mail",
        "give it the right Mail Send in SendGrid (Settings, API Keys)",
    )


def check_sender(mail_from: str, account: MailAccount) -> Finding:
    """Whether mails may be sent from this address."""
    try:
        verified = account.may_send_from(mail_from)
    except SendGridTrouble as trouble:
        return ask(
            AREA,
            "sendgrid-sender-unseen",
            f"whether MAIL_FROM is verified can't be read: {trouble}",
            "look in SendGrid: Settings, Sender Authentication",
        )
    if verified:
        return ok(AREA, "sendgrid-sender", "MAIL_FROM may send")
    return finding(
        AREA,
        "sendgrid-sender",
        f"MAIL_FROM, {mail_from}, is neither a verified sender nor of an authenticated domain: every mail is refused",
        "authenticate the domain in SendGrid (Settings, Sender Authentication)",
    )


def _clicks(account: MailAccount) -> Finding:
    try:
        tracking = account.click_tracking()
    except SendGridTrouble as trouble:
        return ask(
            AREA,
            "sendgrid-clicks-unseen",
            f"whether click tracking is off can't be read: {trouble}",
            "look in SendGrid: Settings, Tracking: Click Tracking must be off",
        )
    if not tracking:
        return ok(AREA, "sendgrid-clicks", "click tracking is off")
    return finding(
        AREA,
        "sendgrid-clicks",
        "click tracking is on: SendGrid would rewrite and keep customers' secret links (our messages ask it not to)",
        "switch it off in SendGrid: Settings, Tracking",
    )


def check_hooks(settings: Settings, database: Transactions) -> Iterator[Finding]:
    """Whether the endpoints of hosts get what they want."""
    with database.reading() as session:
        there, off = hook_endpoints.exist(session), hook_endpoints.that_are_off(session)
    if not there:
        return
    if not settings.hook_keys:
        yield finding(
            HOOKS,
            "hooks-keys",
            "HOOK_KEYS is not set, and there are webhook endpoints: they get nothing, and what happens meanwhile is not kept for them",
            "set it again to the keys that their secrets were made with",
        )
    if off:
        yield finding(
            HOOKS,
            "hooks-off",
            f"{off} webhook endpoints are off because they don't work: their hosts hear nothing",
            "`portico hooks list` names them; when they work: enable, test, replay",
        )
    elif settings.hook_keys:
        yield ok(HOOKS, "hooks-off", "no webhook endpoint was switched off")


def check_senders(addresses: Mapping[str, str], account: MailAccount) -> Iterator[Finding]:
    """Whether the businesses' own sender addresses, by business, are of domains that are authenticated."""
    if not addresses:
        return
    try:
        domains = account.authenticated_domains()
    except SendGridTrouble as trouble:
        yield ask(
            AREA,
            "sendgrid-domains-unseen",
            f"whether the businesses' own sender addresses may be used can't be read, so MAIL_FROM is used: {trouble}",
            "let the API key read Sender Authentication, or look in SendGrid: Settings, Sender Authentication",
        )
        return
    wrong = sorted(business for business, one in addresses.items() if not is_of(one, domains))
    for business in wrong[:MOST_NAMED]:
        yield finding(
            AREA,
            "sendgrid-business-sender",
            f"{business}'s sender address, {addresses[business]}, is not of an authenticated domain: MAIL_FROM is used instead",
            "authenticate the domain in SendGrid (Settings, Sender Authentication), or take `sender_email` back",
        )
    if len(wrong) > MOST_NAMED:
        yield finding(
            AREA,
            "sendgrid-business-sender",
            f"the same holds for {len(wrong) - MOST_NAMED} more businesses",
            "fix these first",
        )
    if not wrong:
        yield ok(AREA, "sendgrid-business-sender", "each business's own sender address may send")
