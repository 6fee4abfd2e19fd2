"""The pages that a customer's browser gets."""

from __future__ import annotations

from typing import Any

from flask import Response, render_template
from werkzeug.wrappers import Response as AnyResponse

from sandbox.design import hardened
from sandbox.pages import wording


def answer(template: str, status: int = 200, **values: Any) -> AnyResponse:
    """A page. Its path holds a secret: not even this site's own pages get it as a referrer."""
    page = render_template(
        template,
        money=wording.money,
        day=wording.day,
        card_name=wording.card_name,
        line_of=wording.line,
        **values,
    )
    made = hardened(Response(page, status))
    made.headers["Referrer-Policy"] = "no-referrer"
    return made
