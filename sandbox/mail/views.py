"""The mailbox over HTTP: SendGrid's API for the sender, an inbox for people and for tests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from flask import (
    Blueprint,
    Response,
    jsonify,
    redirect,
    render_template,
    request,
    stream_with_context,
)
from werkzeug.wrappers import Response as AnyResponse

from sandbox import design
from sandbox.design import hardened
from sandbox.mail.mailbox import Mail, Mailbox
from sandbox.mail.rules import DOMAINS, MAX_REQUEST_BYTES, SendGridError, authorize, parse, problem
from shared.l10n.dates import brief_day
from shared.l10n.locales import ENGLISH

LISTED = 100
ACCOUNT: dict[str, Any] = {
    "scopes": {
        "scopes": ["mail.send", "sender_verification_eligible", "tracking_settings.click.read"]
    },
    "verified_senders": {
        "results": [{"id": 1, "from_email": "billing@portico.example", "verified": True}]
    },
    "tracking_settings/click": {"enabled": False, "enable_text": False},
}
"""SendGrid's answers about an account that is set up well (docs: /v3/scopes, /v3/verified_senders,
/v3/tracking_settings/click)."""
LONGEST_PAGE = 50
"""Domains in one answer, when nothing else is asked for."""
_VIEWS = ("html", "text", "details")
_BASE = '<base target="_top">'
_HEAD = re.compile(r"<head(\s[^>]*)?>", re.IGNORECASE)
_NEW_WINDOW = re.compile(r"""(<a\b[^>]*?\btarget\s*=\s*["'])_blank(["'])""", re.IGNORECASE)
_FRAME_POLICY = (
    "default-src 'none'; img-src * data:; style-src 'unsafe-inline' *; font-src *; "
    "sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox "
    "allow-top-navigation-by-user-activation"
)


def blueprint(mailbox: Mailbox) -> Blueprint:
    """Routes ``/v3/mail/send``, ``/inbox…`` and ``/sandbox/mail…`` over ``mailbox``."""
    pages = design.pages("mail", "/inbox/static")
    _api(pages, mailbox)
    _account(pages)
    _inbox(pages, mailbox)
    _controls(pages, mailbox)
    return pages


def _api(pages: Blueprint, mailbox: Mailbox) -> None:
    @pages.post("/v3/mail/send")
    def send() -> Response:
        try:
            authorize(request.headers.get("Authorization"))
            if request.mimetype != "application/json":
                raise SendGridError(415, [problem("Content-Type should be application/json.")])
            submission = parse(_body())
        except SendGridError as refusal:
            answer = jsonify(errors=refusal.errors)
            answer.status_code = refusal.status
            return answer
        answer = Response(status=202, mimetype="text/plain")
        answer.headers["X-Message-Id"] = mailbox.accept(submission)
        return answer


def _account(pages: Blueprint) -> None:
    """What a sender may ask about its account: a whole one, of which nothing can be changed."""

    @pages.get("/v3/<path:question>")
    def account(question: str) -> Response:
        try:
            authorize(request.headers.get("Authorization"))
        except SendGridError as refusal:
            answer = jsonify(errors=refusal.errors)
            answer.status_code = refusal.status
            return answer
        if question == "whitelabel/domains":
            return jsonify(_domains())
        if question not in ACCOUNT:
            answer = jsonify(errors=[problem("Not Found")])
            answer.status_code = 404
            return answer
        return jsonify(ACCOUNT[question])


def _domains() -> list[dict[str, Any]]:
    """A page of the authenticated domains, of `limit` from `offset` on; of one name with `domain`."""
    wanted = request.args.get("domain")
    first = request.args.get("offset", 0, int)
    most = request.args.get("limit", LONGEST_PAGE, int)
    found = [
        {
            "id": number,
            "user_id": 1,
            "subdomain": f"em{number}",
            "domain": domain,
            "username": "sandbox",
            "ips": [],
            "custom_spf": False,
            "default": number == 1,
            "legacy": False,
            "automatic_security": True,
            "valid": valid,
        }
        for number, (domain, valid) in enumerate(DOMAINS.items(), 1)
        if wanted in (None, domain)
    ]
    return found[first : first + most]


def _body() -> bytes:
    if (request.content_length or 0) > MAX_REQUEST_BYTES:
        raise SendGridError(
            413, [problem("The payload is too large: 30MB is the limit for a request.")]
        )
    return request.stream.read(MAX_REQUEST_BYTES + 1)


def _inbox(pages: Blueprint, mailbox: Mailbox) -> None:
    @pages.get("/inbox")
    def inbox() -> AnyResponse:
        mails = mailbox.mails(request.args.get("to"), LISTED)
        return _page(mailbox, mails, mails[0] if mails else None, chosen=False)

    @pages.get("/inbox/<mail_id>")
    def reading(mail_id: str) -> AnyResponse:
        mail = mailbox.mail(mail_id)
        if mail is None:
            return redirect("/inbox", 303)
        return _page(mailbox, mailbox.mails(request.args.get("to"), LISTED), mail, chosen=True)

    @pages.get("/inbox/<mail_id>/html")
    def html(mail_id: str) -> AnyResponse:
        mail = mailbox.mail(mail_id)
        if mail is None:
            return Response("This email is gone.", 404)
        answer = Response(_opening_in_top(mail.html), mimetype="text/html")
        answer.headers["Content-Security-Policy"] = _FRAME_POLICY
        answer.headers["X-Frame-Options"] = "SAMEORIGIN"
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @pages.post("/inbox/empty")
    def empty() -> AnyResponse:
        mailbox.empty()
        return redirect("/inbox", 303)

    @pages.get("/inbox.json")
    def listing() -> Response:
        mails = mailbox.mails(request.args.get("to"), request.args.get("limit", type=int))
        bodies = request.args.get("bodies", "1") != "0"
        answer = Response(stream_with_context(_stream(mails, bodies)), mimetype="application/json")
        answer.headers["X-Total-Count"] = str(mailbox.accepted)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @pages.delete("/inbox.json")
    def clear() -> Response:
        return jsonify(deleted=mailbox.empty())


def _stream(mails: list[Mail], bodies: bool) -> Iterator[bytes]:
    """As it is read: for people with curl no escapes. Half a surrogate pair, which UTF-8 hasn't, is a question mark."""
    yield b"["
    for index, mail in enumerate(mails):
        one = json.dumps(mail.document(bodies=bodies), ensure_ascii=False)
        yield (b"," if index else b"") + one.encode("utf-8", "replace")
    yield b"]\n"


def _page(mailbox: Mailbox, mails: list[Mail], mail: Mail | None, chosen: bool) -> AnyResponse:
    view = request.args.get("view", "html")
    if mail is not None and (view not in _VIEWS or (view == "html" and not mail.html)):
        view = "html" if mail.html else "text"
    page = render_template(
        "mail/inbox.html",
        mails=[_row(one) for one in mails],
        mail=mail and {**mail.document(), "when": _when(mail)},
        records=mailbox.records(mail.id) if mail else [],
        chosen=chosen,
        view=view,
        to=request.args.get("to", ""),
        total=mailbox.accepted,
        webhook=mailbox.event_webhook_url is not None,
    )
    return hardened(Response(page), frames=True, script=True)


def _row(mail: Mail) -> dict[str, Any]:
    lines = [line.strip() for line in mail.text.splitlines() if line.strip()]
    return {
        "id": mail.id,
        "from_name": mail.sender.name or mail.sender.email,
        "to": mail.to,
        "to_name": mail.envelope.to[0].name or mail.to,
        "subject": mail.subject,
        "snippet": " ".join(lines[:4])[:140],
        "status": mail.status,
        "when": _when(mail),
    }


def _when(mail: Mail) -> str:
    moment = datetime.fromtimestamp(mail.received_at, UTC)
    if moment.date() == datetime.now(UTC).date():
        return moment.strftime("%H:%M:%S")
    return f"{brief_day(moment.date(), ENGLISH, year=False)}, {moment:%H:%M}"


def _opening_in_top(html: str) -> str:
    """The mail's HTML with links that open in the whole window, so that Back leads to the mail."""
    html = _NEW_WINDOW.sub(r"\1_top\2", html)
    if _HEAD.search(html):
        return _HEAD.sub(lambda match: match.group(0) + _BASE, html, count=1)
    return _BASE + html


def _controls(pages: Blueprint, mailbox: Mailbox) -> None:
    @pages.get("/sandbox/sendgrid-public-key")
    def public_key() -> Response:
        return Response(mailbox.public_key + "\n", mimetype="text/plain")

    @pages.get("/sandbox/mail")
    def counts() -> Response:
        return jsonify(
            **mailbox.counts(),
            event_webhook=mailbox.event_webhook_url is not None,
            public_key=mailbox.public_key,
        )

    @pages.get("/sandbox/mail/events")
    def events() -> Response:
        records = mailbox.records(request.args.get("mail_id"))[
            -request.args.get("limit", 200, int) :
        ]
        return jsonify(
            [
                {
                    "mail_id": record.mail_id,
                    "state": record.state,
                    "attempts": record.attempts,
                    "last_status": record.last_status,
                    "event": record.event,
                }
                for record in reversed(records)
            ]
        )

    @pages.post("/sandbox/mail/events")
    def command() -> tuple[Response, int]:
        order = request.get_json(silent=True)
        if not isinstance(order, dict):
            return jsonify(error='send a JSON object, for example {"duplicate": 2}'), 400
        mail = _subject_of(mailbox, order.get("mail_id"))
        if mail is None:
            return jsonify(error="there is no such email"), 404
        duplicates = order.get("duplicate", 0)
        event = order.get("event")
        if not isinstance(duplicates, int) or not 0 <= duplicates <= 1000:
            return jsonify(error="duplicate: expected a number from 0 to 1000"), 400
        if event is not None and not isinstance(event, str):
            return jsonify(error='event: expected a name such as "bounce"'), 400
        if event:
            mailbox.report(mail, event, named=order.get("named") is not False)
        sent = mailbox.events.again(mailbox.records(mail.id), duplicates)
        return jsonify(mail_id=mail.id, event=event, duplicates=sent), 202


def _subject_of(mailbox: Mailbox, mail_id: Any) -> Mail | None:
    if mail_id is not None:
        return mailbox.mail(str(mail_id))
    newest = mailbox.mails(limit=1)
    return newest[0] if newest else None
