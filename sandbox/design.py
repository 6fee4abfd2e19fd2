"""What the sandbox's pages share: templates and styles, and the headers they carry."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response

_HERE = Path(__file__).parent


def pages(name: str, static: str) -> Blueprint:
    """Pages with the sandbox's templates; their style and pictures are at the address `static`."""
    return Blueprint(
        name,
        __name__,
        template_folder=str(_HERE / "templates"),
        static_folder=str(_HERE / "static"),
        static_url_path=static,
    )


def hardened(answer: Response, *, frames: bool = False, script: bool = False) -> Response:
    """Add the headers every page carries: not framed, not cached, nothing loaded from elsewhere.

    ``frames`` lets the page frame our own documents (a mail), ``script`` run our own script files.
    No ``form-action``: browsers apply it to redirects too, and Stripe's page returns to the
    business by one.
    """
    policy = ["default-src 'none'", "style-src 'self'", "img-src 'self' data:", "base-uri 'none'"]
    policy.append("frame-ancestors 'none'")
    if frames:
        policy.append("frame-src 'self'")
    if script:
        policy.append("script-src 'self'; connect-src 'self'")
    answer.headers["Content-Security-Policy"] = "; ".join(policy)
    answer.headers["X-Frame-Options"] = "DENY"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "same-origin"
    answer.headers["Cache-Control"] = "no-store"
    return answer
