"""The pages around a request to cancel: the customer's confirmation, and the business's answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from babel import Locale

from services.portal.domain.cancelling import Decision
from services.portal.domain.people import mask_email
from services.portal.domain.snapshot import Business, Snapshot, Subscription
from services.portal.handlers.cancelling import Asking, Request
from services.portal.texts import texts_in
from services.portal.web.frame import SELF, Page, draw


def asked(
    snapshot: Snapshot,
    subscription: Subscription,
    token: str,
    locale: Locale,
    outcome: Asking,
    now: dt.datetime,
) -> Page:
    """What a customer reads after asking to cancel; the same words when the request was there already."""
    texts = texts_in(locale)
    return draw(
        "cancel_asked.html",
        locale=locale,
        business=snapshot.business,
        token=token,
        already=outcome is Asking.ALREADY,
        what=texts.subscription(subscription, texts.days(snapshot.zone, now)),
        address=mask_email(snapshot.email),
    )


def answer_request(
    request: Request,
    tokens: Mapping[Decision, str],
    locale: Locale,
    now: dt.datetime,
    *,
    just_now: bool = False,
    observed: bool = False,
) -> Page:
    """The page behind a link to answer a request: offers both answers whichever link was followed, or says how it was
    answered. `tokens` is what each answer posts. Where the business is `observed` it offers none."""
    texts = texts_in(locale)
    row = request.business
    return draw(
        "request.html",
        locale=locale,
        business=Business(
            business_id=row.business_id, name=row.name, logo_url=row.logo_url, color=row.color
        ),
        form_targets=(SELF,),
        keep=tokens[Decision.DECLINE],
        approve=tokens[Decision.APPROVE],
        name=request.customer_name,
        what=texts.subscription(request.subscription, texts.days(row.timezone, now))
        if request.subscription
        else "",
        status=request.status,
        just_now=just_now,
        observed=observed,
        days=texts.days(row.timezone, now),
        asked_at=request.asked_at,
        decided_at=request.decided_at,
        ends_at=request.ends_at,
        waits=request.waits,
        carried_out=request.carried_out,
        dashboard_url=request.dashboard_url,
    )
