"""What SendGrid accepts as a mail, and the words it refuses the rest with.

Source: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send and its error
reference. The order of the checks is SendGrid's as far as it can be observed: every problem of one
request is reported at once. What Portico sends none of (copies, templates, attachments, …) is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_REQUEST_BYTES = 30 * 1024 * 1024
MAX_PERSONALIZATIONS = 1000
MAX_CUSTOM_ARGS_BYTES = 10_000
_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"
_ADDRESS = re.compile(r"[^@\s<>,;]+@[^@\s<>,;.]+(\.[^@\s<>,;.]+)*")
_PLAYED = frozenset(
    [
        *("personalizations", "from", "reply_to", "subject", "content"),
        *("custom_args", "headers", "categories", "tracking_settings"),
    ]
)
_PLAYED_OF_A_GROUP = frozenset(["to", "subject", "custom_args", "headers"])
_RESERVED_HEADERS = frozenset(
    [
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    ]
)


DOMAINS = {"portico.example": True, "sunrise-cleaning.example": True, "not-yet.example": False}
"""The account's authenticated domains, and whether their DNS records were found right."""
Problem = dict[str, str | None]
"""One entry of SendGrid's `errors`: message, field, help."""


class SendGridError(Exception):
    """SendGrid would not take this request."""

    def __init__(self, status: int, errors: list[Problem]) -> None:
        super().__init__("; ".join(str(error["message"]) for error in errors))
        self.status = status
        self.errors = errors


@dataclass(frozen=True)
class Address:
    """A mailbox: ``email`` and the display name, empty when none was given."""

    email: str
    name: str = ""


@dataclass(frozen=True)
class Envelope:
    """One personalization: everything that goes to one group of recipients."""

    to: tuple[Address, ...]
    subject: str
    headers: Mapping[str, str]
    custom_args: Mapping[str, str]


@dataclass(frozen=True)
class Submission:
    """An accepted request to ``/v3/mail/send``."""

    sender: Address
    reply_to: Address | None
    text: str
    html: str
    categories: tuple[str, ...]
    tracking_settings: Mapping[str, Any]
    envelopes: tuple[Envelope, ...]


def problem(message: str, field_name: str | None = None, anchor: str | None = None) -> Problem:
    """One entry of SendGrid's ``errors`` array."""
    return {
        "message": message,
        "field": field_name,
        "help": f"{_HELP}#{anchor}" if anchor else None,
    }


def authorize(header: str | None) -> None:
    """Accept ``Bearer SG.…``; raise :class:`SendGridError` (401) in SendGrid's words otherwise."""
    scheme, _, key = (header or "").partition(" ")
    if not header:
        raise SendGridError(401, [problem("Permission denied, wrong credentials")])
    if scheme.lower() != "bearer" or not re.fullmatch(r"SG\.[A-Za-z0-9._-]+", key.strip()):
        raise SendGridError(
            401,
            [problem("The provided authorization grant is invalid, expired, or revoked")],
        )


def parse(body: bytes) -> Submission:
    """Read a request body; raise :class:`SendGridError` (400, 403 or 413) naming every wrong field."""
    if len(body) > MAX_REQUEST_BYTES:
        raise SendGridError(
            413, [problem("The payload is too large: 30MB is the limit for a request.")]
        )
    try:
        payload = json.loads(body)
    except ValueError:
        raise SendGridError(400, [problem("Bad Request")]) from None
    if not isinstance(payload, dict):
        raise SendGridError(400, [problem("Bad Request")])
    errors = list(_Check(payload).problems())
    if errors:
        raise SendGridError(400, errors)
    submission = _read(payload)
    address = submission.sender.email.lower()
    if address.startswith("unverified") or not DOMAINS.get(address.rpartition("@")[2], True):
        message = (
            "The from address does not match a verified Sender Identity. Mail cannot be sent until "
            "this error is resolved. Visit https://sendgrid.com/docs/for-developers/sending-email/"
            "sender-identity/ to see the Sender Identity requirements"
        )
        raise SendGridError(403, [problem(message, "from")])
    return submission


@dataclass
class _Check:
    """Walks a payload and yields what SendGrid would complain about."""

    payload: dict[str, Any]
    seen: dict[str, str] = field(default_factory=dict)

    def problems(self) -> Iterator[Problem]:
        yield from self._personalizations()
        yield from self._sender()
        yield from self._subject()
        yield from self._content()
        yield from self._settings()

    def _personalizations(self) -> Iterator[Problem]:
        groups = self.payload.get("personalizations")
        if not isinstance(groups, list) or not groups:
            yield problem(
                "The personalizations field is required and must have at least one personalization.",
                "personalizations",
                "-Personalizations-Errors",
            )
            return
        if len(groups) > MAX_PERSONALIZATIONS:
            yield problem(
                "The personalizations field must have at most 1000 personalizations.",
                "personalizations",
                "-Personalizations-Errors",
            )
        for index, group in enumerate(groups):
            yield from self._group(group, f"personalizations.{index}")

    def _group(self, group: Any, path: str) -> Iterator[Problem]:
        if not isinstance(group, dict):
            yield problem("The personalization must be an object.", path)
            return
        if not isinstance(group.get("to"), list) or not group["to"]:
            yield problem(
                "The to array is required for all personalization objects, and must have at least "
                "one email object with a valid email address.",
                f"{path}.to",
                "message.personalizations.to",
            )
        known: set[str] = set()
        entries = group.get("to")
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            if not _is_address(entry):
                yield problem(
                    "Does not contain a valid address.",
                    f"{path}.to.{index}.email",
                    "message.personalizations.email",
                )
            elif entry["email"].lower() in known:
                yield problem(
                    "Each email address in the personalization block should be unique between "
                    "to, cc, and bcc. We found the first duplicate instance of "
                    f"[{entry['email']}] in the {path}.to field.",
                    path,
                    "message.recipient-errors",
                )
            else:
                known.add(entry["email"].lower())
        if not isinstance(group.get("subject"), str | None):
            yield problem("The subject must be a string.", f"{path}.subject", "message.subject")
        yield from _not_played(group, _PLAYED_OF_A_GROUP, f"{path}.")
        yield from _custom_args(group.get("custom_args"), f"{path}.custom_args")
        yield from _headers(group.get("headers"), f"{path}.headers")

    def _sender(self) -> Iterator[Problem]:
        sender = self.payload.get("from")
        if not isinstance(sender, dict) or not sender.get("email"):
            yield problem(
                "The from object must be provided for every email send. It is an object that "
                "requires the email parameter, but may also contain a name parameter.  e.g. "
                '{"email" : "example@example.com"}  or {"email" : "example@example.com", '
                '"name" : "Example Recipient"}.',
                "from.email",
                "message.from",
            )
        elif not _is_address(sender):
            yield problem(
                "The from email does not contain a valid address.", "from.email", "message.from"
            )
        reply_to = self.payload.get("reply_to")
        if reply_to is not None and not _is_address(reply_to):
            yield problem(
                "The reply_to email does not contain a valid address.",
                "reply_to.email",
                "message.reply_to",
            )

    def _subject(self) -> Iterator[Problem]:
        groups = self.payload.get("personalizations")
        groups = groups if isinstance(groups, list) else []
        everywhere = groups and all(isinstance(g, dict) and g.get("subject") for g in groups)
        if not self.payload.get("subject") and not everywhere:
            yield problem(
                "The subject is required. You can get around this requirement if you use a template "
                "with a subject defined or if every personalization has a subject defined.",
                "subject",
                "message.subject",
            )
        elif not isinstance(self.payload.get("subject"), str | None):
            yield problem("The subject must be a string.", "subject", "message.subject")

    def _content(self) -> Iterator[Problem]:
        blocks = self.payload.get("content")
        if not isinstance(blocks, list) or not blocks:
            yield problem(
                "Unless a valid template_id is provided, the content parameter is required. "
                "There must be at least one defined content block. We typically suggest both "
                "text/plain and text/html blocks are included, but only one block is required.",
                "content",
                "message.content",
            )
            return
        kinds: list[str] = []
        for index, block in enumerate(blocks):
            if not isinstance(block, dict) or not isinstance(block.get("type"), str):
                yield problem(
                    "The content type must be a string at least one character in length.",
                    f"content.{index}.type",
                    "message.content.type",
                )
                continue
            kinds.append(block["type"].split(";")[0].strip().lower())
            if not isinstance(block.get("value"), str) or not block["value"]:
                yield problem(
                    "The content value must be a string at least one character in length.",
                    f"content.{index}.value",
                    "message.content.value",
                )
        if kinds.count("text/plain") > 1 or kinds.count("text/html") > 1:
            yield problem(
                "If present, text/plain and text/html may only be provided once.",
                "content",
                "message.content",
            )
        rank = {"text/plain": 0, "text/html": 1}
        order = [rank.get(kind, 2) for kind in kinds]
        if order != sorted(order):
            yield problem(
                "If present, text/plain must be first, followed by text/html, followed by any other "
                "content.",
                "content",
                "message.content.type",
            )

    def _settings(self) -> Iterator[Problem]:
        yield from _custom_args(self.payload.get("custom_args"), "custom_args")
        yield from _headers(self.payload.get("headers"), "headers")
        tracking = self.payload.get("tracking_settings")
        if not isinstance(tracking, dict | None) or any(
            not isinstance(inner, dict) for inner in (tracking or {}).values()
        ):
            yield problem(
                "The tracking_settings parameter must be an object of objects.", "tracking_settings"
            )
        categories = self.payload.get("categories")
        if categories is not None and (
            not isinstance(categories, list)
            or len(categories) > 10
            or len(set(map(str, categories))) != len(categories)
        ):
            yield problem(
                "The categories must be an array of at most 10 unique strings.",
                "categories",
                "message.categories",
            )
        yield from _not_played(self.payload, _PLAYED)


def _not_played(
    given: Mapping[str, Any], played: frozenset[str], path: str = ""
) -> Iterator[Problem]:
    for name in sorted(given.keys() - played):
        yield problem("This sandbox does not play it.", f"{path}{name}")


def _is_address(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("email"), str)
        and _ADDRESS.fullmatch(entry["email"]) is not None
    )


def _custom_args(value: Any, path: str) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(value, dict) or any(not isinstance(v, str) for v in value.values()):
        yield problem(
            "The custom_args parameter must be an object of strings.", path, "message.custom_args"
        )
    elif len(json.dumps(value).encode()) > MAX_CUSTOM_ARGS_BYTES:
        yield problem(
            "The custom_args may not be larger than 10000 bytes.", path, "message.custom_args"
        )


def _headers(value: Any, path: str) -> Iterator[Problem]:
    if value is None:
        return
    if not isinstance(value, dict) or any(not isinstance(v, str) for v in value.values()):
        yield problem("The headers parameter must be an object of strings.", path)
        return
    for name in value:
        if name.lower() in _RESERVED_HEADERS:
            yield problem(
                f"The header {name} is reserved and may not be set.", path, "message.headers"
            )


def _address(entry: Mapping[str, Any]) -> Address:
    return Address(entry["email"], str(entry.get("name") or ""))


def _read(payload: dict[str, Any]) -> Submission:
    bodies = {
        block["type"].split(";")[0].strip().lower(): block["value"]
        for block in payload.get("content") or []
    }
    reply_to = payload.get("reply_to")
    return Submission(
        sender=_address(payload["from"]),
        reply_to=_address(reply_to) if reply_to else None,
        text=bodies.get("text/plain", ""),
        html=bodies.get("text/html", ""),
        categories=tuple(str(name) for name in payload.get("categories") or ()),
        tracking_settings=payload.get("tracking_settings") or {},
        envelopes=tuple(_envelope(payload, group) for group in payload["personalizations"]),
    )


def _envelope(payload: dict[str, Any], group: dict[str, Any]) -> Envelope:
    return Envelope(
        to=tuple(_address(entry) for entry in group["to"]),
        subject=group.get("subject") or payload.get("subject") or "",
        headers={**(payload.get("headers") or {}), **(group.get("headers") or {})},
        custom_args={**(payload.get("custom_args") or {}), **(group.get("custom_args") or {})},
    )
