"""What knows SendGrid: builds and sends messages, and reads its signed Event Webhook.

Messages are built with the library's `Mail` helpers, once for all that differ in their own words alone, and posted over one connection pool of our own: the
library opens a TLS connection a message (20.5 ms of CPU) and has no time-out. The pool is urllib3's, without `requests`
around it, which would double the cost of a post (docs/benchmarks.md).
"""

from __future__ import annotations

import binascii
import datetime as dt
import logging
import re
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, Final, Protocol

import msgspec
import urllib3
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError, SSLError

from services.notifier.adapters.sendgrid.library import (
    Category,
    ClickTracking,
    CustomArg,
    From,
    HtmlContent,
    OpenTracking,
    PlainTextContent,
    ReplyTo,
    SendGridMail,
    SubscriptionTracking,
    To,
    TrackingSettings,
    event_webhook,
)
from services.notifier.adapters.sendgrid.sender_domains import SenderDomains
from services.notifier.domain.delivery_events import Delivery, DeliveryEvent
from services.notifier.domain.sending import (
    OUT_OF_CREDITS,
    Accepted,
    MaybeSent,
    Outcome,
    RateLimited,
    Refused,
    Unavailable,
)
from services.notifier.emails.formats import display_name
from services.notifier.metrics import FEEDBACK
from services.notifier.ports import Mail
from shared.clock import utc_now
from shared.http_client import HttpPool
from shared.telemetry import get_logger
from shared.text import decode_json

log = get_logger(__name__)

CONNECT_SECONDS: Final = 3
ANSWER_SECONDS: Final = 10
PATH: Final = "/v3/mail/send"
WAIT_WITHOUT_RESET: Final = dt.timedelta(seconds=60)
"""How long a 429 without `X-RateLimit-Reset` makes us wait."""
NO_CREDITS: Final = "maximum credits exceeded"
"""In lower case what a 401 says of a plan that is used up for this day or month, where others are about the key
(https://support.sendgrid.com/hc/en-us/articles/18322114821403-4XX-API-Errors-and-Troubleshooting-Suggestions)."""

_NAME: Final = re.compile(r"[!-~]{8,255}")
"""A message's name: random text. A shorter one could be anybody's."""
NO_CONNECTION: Final = (NewConnectionError, ConnectTimeoutError, SSLError, ProxyError)
"""What is raised before a request can leave."""
Answer = urllib3.BaseHTTPResponse

NO_TRACKING: Final = TrackingSettings(
    click_tracking=ClickTracking(enable=False, enable_text=False),
    open_tracking=OpenTracking(enable=False),
    subscription_tracking=SubscriptionTracking(enable=False),
)
"""Click tracking would rewrite, store and report back the customer's secret link."""

SIGNATURE_HEADER: Final = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER: Final = "X-Twilio-Email-Event-Webhook-Timestamp"
TOLERANCE: Final = dt.timedelta(minutes=10)
"""How old a signature may be, and how far ahead its clock: the library checks neither."""


class SendGridMailer:
    """The `Mailer` that sends for real (or to the sandbox): safe to share between green threads."""

    def __init__(
        self,
        api_key: str,
        api_base: str,
        sender: str,
        sender_name: str = "",
        *,
        senders: SenderDomains | None = None,
        connections: int = 16,
        now: Callable[[], dt.datetime] = utc_now,
        timeouts: tuple[float, float] = (CONNECT_SECONDS, ANSWER_SECONDS),
    ) -> None:
        """`sender` is the verified address; `senders` says which addresses of businesses may be used besides (None: none);
        `timeouts` are seconds to connect and to wait for an answer."""
        _pin_log_level()
        self._senders = senders or SenderDomains(frozenset)
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._sender, self._sender_name = sender, sender_name
        self._now = now
        self._pool = HttpPool(
            api_base, words=PATH.split("/"), connections=connections, timeouts=timeouts
        )

    def close(self) -> None:
        """Close the pooled connections."""
        self._pool.close()

    def send(self, mail: Mail) -> Outcome:
        """Post one message. See `Mailer.send`."""
        own = mail.sender_email if self._senders.allow(mail.sender_email) else None
        try:
            answer = self._post(mail, own)
            if own and answer.status == 403:  # authenticated no more: SendGrid took nothing
                self._senders.refused(own)
                answer = self._post(mail, None)
        except urllib3.exceptions.HTTPError as error:
            return _outcome_of_error(error)
        return _outcome_of_answer(answer, self._now())

    def sender_of(self, own: str | None) -> str:
        """The address that emails of a business with this one of its own come from, as far as is known."""
        return own if own and self._senders.allow(own) else self._sender

    def _post(self, mail: Mail, own: str | None) -> Answer:
        return self._pool.post(PATH, self._body(mail, own), self._headers)

    def _body(self, mail: Mail, own: str | None) -> bytes:
        """SendGrid's request body (docs: POST /v3/mail/send)."""
        business = display_name(mail.from_name) or display_name(self._sender_name)
        sender = business
        if mail.platform and mail.from_name and own is None:
            # Whoever looks at the address finds another domain than the business's: the name says why.
            sender = f"{business} via {display_name(mail.platform)}"
        to_name = display_name(mail.to_name)
        pieces = _pieces(
            (own or self._sender, sender or None),
            (mail.reply_to, business or None) if mail.reply_to else None,
            mail.kind.value,
            has_name=bool(to_name),
        ).copy()
        said = {
            "to": mail.to,
            "name": to_name,
            "subject": mail.subject,
            "text": mail.text,
            "html": mail.html,
            "id": mail.notification_id,
        }
        pieces[1::2] = [msgspec.json.encode(said[name.decode()]) for name in pieces[1::2]]
        return b"".join(pieces)


_HOLES: Final = re.compile(rb'"(\w+)@\\u0000"')
"""What stands for each mail's own words in a prepared message, as JSON has it: with a character that is in nobody's name or address, and
the sign by which the library knows an address."""


def _hole(name: str) -> str:
    return f"{name}@\0"


@lru_cache(maxsize=1024)
def _pieces(
    sender: tuple[str, str | None],
    reply_to: tuple[str, str | None] | None,
    kind: str,
    *,
    has_name: bool,
) -> list[bytes]:
    """The message that the library makes, as JSON, between the places of what each mail has for itself, whose names are every second
    piece. Only the opaque notification id and the kind go into custom arguments and categories: SendGrid keeps those long and
    can't redact them."""
    message = SendGridMail(
        from_email=From(*sender),
        to_emails=To(_hole("to"), _hole("name") if has_name else None),
        subject=_hole("subject"),
        plain_text_content=PlainTextContent(_hole("text")),
        html_content=HtmlContent(_hole("html")),
    )
    if reply_to is not None:
        message.reply_to = ReplyTo(*reply_to)
    message.add_custom_arg(CustomArg("notification_id", _hole("id")))
    message.add_category(Category(kind))
    message.tracking_settings = NO_TRACKING
    return _HOLES.split(msgspec.json.encode(message.get()))


def _pin_log_level() -> None:
    """The library's client prints key and message at DEBUG: it never gets there."""
    logger = logging.getLogger("python_http_client")
    if logger.level < logging.INFO:
        logger.setLevel(logging.INFO)


def _outcome_of_answer(answer: Answer, now: dt.datetime) -> Outcome:
    status = answer.status
    if 200 <= status < 300:
        return Accepted(_message_id(answer.headers.get("X-Message-Id")))
    if status == 429:
        return RateLimited(_reset(answer, now))
    if status == 401 and NO_CREDITS in _complaint(answer).lower():
        return RateLimited(_reset(answer, now), OUT_OF_CREDITS)
    if status == 504:
        return MaybeSent("504: a gateway gave up waiting for SendGrid")
    if status >= 500 or status == 408 or status < 400:
        return Unavailable(f"{status} from SendGrid")
    return Refused(f"{status} from SendGrid: {_complaint(answer)}")


def _message_id(told: str | None) -> str | None:
    """SendGrid's name for a message. `X-Message-Id` is the part of `sg_message_id` before the first dot (`.filter0001…` names
    the machine). None for what is no name: it would match nothing, and may not fit."""
    name = (told or "").split(".", 1)[0]
    return name if _NAME.fullmatch(name) else None


def _reset(answer: Answer, now: dt.datetime) -> dt.datetime:
    try:
        reset = float(answer.headers["X-RateLimit-Reset"])
        return dt.datetime.fromtimestamp(reset, dt.UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return now + WAIT_WITHOUT_RESET


class _Error(msgspec.Struct):
    message: str = ""
    field: str | None = None


class _Errors(msgspec.Struct):
    errors: list[_Error] = []


_errors = msgspec.json.Decoder(_Errors)


def _complaint(answer: Answer) -> str:
    """SendGrid's own words, short, without anything that looks like an address."""
    try:
        errors = decode_json(_errors, answer.data).errors
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "no reason given"
    said = "; ".join(f"{error.message} ({error.field})" for error in errors[:3])
    return " ".join(word for word in said.split() if "@" not in word)[:300] or "no reason given"


def _outcome_of_error(error: urllib3.exceptions.HTTPError) -> Outcome:
    """Did the request leave? Before a connection stands it has not; afterwards nobody can tell."""
    if isinstance(error, NO_CONNECTION):
        return Unavailable(f"no connection to SendGrid: {type(error).__name__}")
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return MaybeSent("no answer from SendGrid in time")
    return MaybeSent("the connection to SendGrid broke before its answer")


# --- the Event Webhook --------------------------------------------------------------------------------------------


class BadWebhook(ValueError):
    """The request is not a fresh, signed batch of SendGrid's events; the text says what is wrong."""


DELIVERIES: Final = {
    "processed": Delivery.ACCEPTED,
    "delivered": Delivery.DELIVERED,
    "deferred": Delivery.DEFERRED,
    "bounce": Delivery.BOUNCED,
    "dropped": Delivery.DROPPED,
    "spamreport": Delivery.COMPLAINED,
}
"""SendGrid's names for what happens to a message (docs: Event Webhook reference)."""
BLOCKED: Final = "blocked"
"""The `type` of a soft bounce: refused this time, no statement about the mailbox. Else it is `bounce`."""
HARD_DROPS: Final = ("bounced address", "invalid", "invalid smtpapi header")
COMPLAINT_DROPS: Final = ("spam reporting address",)
"""The reasons, in lower case, for which SendGrid would drop the next message too."""


class _Event(msgspec.Struct):
    """The fields that are read (docs: Event Webhook reference). Custom arguments stand among them. What SendGrid does not know is absent
    or null."""

    event: str
    sg_event_id: str = ""
    timestamp: float = 0
    email: str | None = None
    notification_id: str = ""
    sg_message_id: str | None = None
    reason: str | None = None
    response: str | None = None
    """The words of a mail server that took it, or may take it later."""
    type: str | None = None


_batch = msgspec.json.Decoder(list[msgspec.Raw])
_event = msgspec.json.Decoder(_Event, strict=False)


class Headers(Protocol):
    """A request's headers."""

    def get(self, key: str, /) -> str | None:
        """One of them, whatever the case of its name."""
        ...


def signing_headers(headers: Headers) -> tuple[str, str]:
    """Signature and timestamp. Raises BadWebhook without: nothing of SendGrid's then, whatever the body says."""
    signature, timestamp = headers.get(SIGNATURE_HEADER), headers.get(TIMESTAMP_HEADER)
    if not signature or not timestamp:
        raise BadWebhook("not signed")
    return signature, timestamp


class SignedEvents:
    """Reads batches that carry a valid, fresh signature of the account's key."""

    def __init__(self, public_key: str) -> None:
        """`public_key`: base64 as SendGrid's settings page shows it; the service's settings have looked at it."""
        self._public_key = public_key

    @cached_property
    def _webhook(self) -> Any:
        """Made at the first webhook: until then a process does without cryptography."""
        return event_webhook(self._public_key)

    def read(self, body: bytes, headers: Headers, now: dt.datetime) -> list[DeliveryEvent]:
        """The batch's events about a notification, or a message, which may be ours; raises BadWebhook.

        The signature is ECDSA over the timestamp and the raw bytes of the body. A single event that can't be
        read is left out: an answer other than 2xx would bring the whole batch back for days.
        """
        self._verify(body, headers, now)
        try:
            raw_events = decode_json(_batch, body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadWebhook(f"not a JSON array: {error}") from None
        found = (read_event(raw, now) for raw in raw_events)
        return [event for event in found if event is not None]

    def _verify(self, body: bytes, headers: Headers, now: dt.datetime) -> None:
        signature, timestamp = signing_headers(headers)
        try:
            # Strict UTF-8 in and out is the identity, so these are the raw bytes.
            genuine = self._webhook.verify_signature(body.decode(), signature, timestamp)
        except (UnicodeError, binascii.Error, ValueError):
            raise BadWebhook("the signature or the body can't be read") from None
        if not genuine:
            raise BadWebhook("the signature is wrong")
        try:
            signed_at = dt.datetime.fromtimestamp(int(timestamp), dt.UTC)
        except (ValueError, OverflowError, OSError):
            raise BadWebhook("the timestamp is no time") from None
        age = now - signed_at
        if abs(age) > TOLERANCE:
            where = "old" if age > dt.timedelta() else "ahead"
            seconds = abs(age).total_seconds()
            raise BadWebhook(
                f"the signature is right and {seconds:.0f} s {where}, by this machine's clock"
            )


def read_event(raw: msgspec.Raw, now: dt.datetime) -> DeliveryEvent | None:
    """One event; None for what can't be read, or says nothing of a delivery (opens and clicks, which are not tracked)."""
    try:
        event = _event.decode(raw)
        occurred_at = dt.datetime.fromtimestamp(event.timestamp, dt.UTC)
    except (msgspec.MsgspecError, ValueError, OverflowError, OSError) as error:
        log.warning("SendGrid's event left out", reason=str(error))
        FEEDBACK.labels("unreadable").inc()
        return None
    what, message_id = DELIVERIES.get(event.event), _message_id(event.sg_message_id)
    if what is None or not event.sg_event_id or not (event.notification_id or message_id):
        return None
    reason = event.reason or event.response or ""
    dropped_since = reason.strip().lower() if what is Delivery.DROPPED else ""
    complaint = what is Delivery.COMPLAINED or dropped_since in COMPLAINT_DROPS
    refused = what is Delivery.BOUNCED and event.type != BLOCKED
    return DeliveryEvent(
        event_id=event.sg_event_id[:255],
        notification_id=event.notification_id[:40],
        message_id=message_id,
        what=what,
        occurred_at=min(occurred_at, now),
        address=event.email or "",
        permanent=complaint or refused or dropped_since in HARD_DROPS,
        complaint=complaint,
        reason=reason,
        provider_word=event.event,
    )
