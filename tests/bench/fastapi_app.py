"""The yardstick: the same two jobs as a good team writes them by hand with FastAPI, SQLAlchemy's async ORM and asyncpg.

Runs in an environment of its own (`requirements-bench.txt`): uvicorn, uvloop, httptools, one process, no access log. It is
kept lean where ours does more: no translations, no time zones, no limits, no metrics, no health checks, no relay.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import os
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import HTMLResponse
from itsdangerous import BadSignature, Signer
from jinja2 import Environment
from sqlalchemy import BigInteger, DateTime, ForeignKey, String, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column, relationship

PORTAL = os.environ["PORTAL_DATABASE_URL"].replace("psycopg2", "asyncpg")
BILLING = os.environ["BILLING_DATABASE_URL"].replace("psycopg2", "asyncpg")
SECRET = os.environ["WEBHOOK_SECRET"].encode()
SIGNER = Signer(
    os.environ["LINK_KEY"],
    salt=b"portico.portal.links.v1",
    sep=".",
    key_derivation="hmac",
    digest_method=hashlib.sha256,
)
HERE = Path(__file__).parent
STYLE = (HERE.parents[1] / "services/portal/templates/style.css").read_text("utf-8")


class Base(DeclarativeBase):
    """The columns that the two jobs need."""


class Business(Base):
    __tablename__ = "businesses"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    email: Mapped[str | None]
    phone: Mapped[str | None]
    website: Mapped[str | None]


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(22))
    business_pk: Mapped[int] = mapped_column(ForeignKey("businesses.id"))
    name: Mapped[str]
    platform_stripe_customer_id: Mapped[str | None]
    link_generation: Mapped[int] = mapped_column(BigInteger)
    business: Mapped[Business] = relationship()


class Appointment(Base):
    __tablename__ = "appointments"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    customer_pk: Mapped[int] = mapped_column(BigInteger)
    title: Mapped[str]
    starts_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    location: Mapped[str | None]
    status: Mapped[str]


class Invoice(Base):
    __tablename__ = "invoices"
    invoice_id: Mapped[str] = mapped_column(primary_key=True)
    stripe_customer_id: Mapped[str]
    status: Mapped[str]
    currency: Mapped[str]
    amount_remaining: Mapped[int] = mapped_column(BigInteger)
    number: Mapped[str | None]
    first_failed_at: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    next_payment_attempt: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    card_brand: Mapped[str | None]
    card_last4: Mapped[str | None]


class Inbox(Base):
    __tablename__ = "inbox"
    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    api_version: Mapped[str | None]
    livemode: Mapped[bool]
    created: Mapped[int] = mapped_column(BigInteger)
    received_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    status: Mapped[str]
    payload: Mapped[str]


class Outbox(Base):
    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    event_id: Mapped[str]
    dedupe_key: Mapped[str]
    type: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    attempts: Mapped[int]
    next_attempt_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))


portal = async_sessionmaker(
    create_async_engine(PORTAL, pool_size=20, max_overflow=0), expire_on_commit=False
)
billing = async_sessionmaker(
    create_async_engine(BILLING, pool_size=20, max_overflow=0), expire_on_commit=False
)

page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    (HERE / "fastapi_page.html").read_text("utf-8")
)
app = FastAPI(openapi_url=None)


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    return {"ready": True}


@app.get("/me/{token}", response_class=HTMLResponse)
async def me(token: str) -> HTMLResponse:
    public_id, generation = read_token(token)
    now = dt.datetime.now(dt.UTC)
    async with portal() as session:
        customer = await find_customer(session, public_id)
        if customer is None or customer.link_generation != generation:
            raise HTTPException(404)
        appointments = (
            await session.scalars(
                select(Appointment)
                .where(
                    Appointment.customer_pk == customer.id,
                    func.coalesce(Appointment.ends_at, Appointment.starts_at) >= now,
                )
                .order_by(Appointment.starts_at)
                .limit(8)
            )
        ).all()
        invoices = (
            await session.scalars(
                select(Invoice).where(
                    Invoice.stripe_customer_id == customer.platform_stripe_customer_id,
                    Invoice.first_failed_at.is_not(None),
                    or_(Invoice.status == "open", Invoice.status == "draft"),
                )
            )
        ).all()
    html = page.render(
        style=STYLE, customer=customer, appointments=appointments, invoices=invoices, token=token
    )
    return HTMLResponse(
        html, headers={"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    )


def read_token(token: str) -> tuple[str, int]:
    import base64

    try:
        payload = SIGNER.unsign(token)
        raw = base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))
    except (BadSignature, ValueError):
        raise HTTPException(404) from None
    public_id = base64.urlsafe_b64encode(raw[:16]).rstrip(b"=").decode()
    return public_id, int.from_bytes(raw[16:], "big")


async def find_customer(session: AsyncSession, public_id: str) -> Customer | None:
    found: Customer | None = await session.scalar(
        select(Customer)
        .where(Customer.public_id == public_id)
        .options(joinedload(Customer.business, innerjoin=True))
    )
    return found


@app.post("/webhooks/stripe")
async def webhook(request: Request, stripe_signature: str = Header()) -> dict[str, str]:
    body = await request.body()
    verify(body, stripe_signature)
    event: dict[str, Any] = json.loads(body)
    now = dt.datetime.now(dt.UTC)
    async with billing() as session, session.begin():
        stored = await session.scalar(
            insert(Inbox)
            .values(
                id=event["id"],
                type=event["type"],
                api_version=event["api_version"],
                livemode=event["livemode"],
                created=event["created"],
                received_at=now,
                status="translated",
                payload=body.decode(),
            )
            .on_conflict_do_nothing(index_elements=["id"])
            .returning(Inbox.id)
        )
        if stored is None:
            return {"received": "duplicate"}
        invoice = event["data"]["object"]
        await session.execute(
            insert(Outbox)
            .values(
                event_id=f"{event['id']}/{event['type']}",
                dedupe_key=f"{event['type']}:{invoice['id']}:{invoice['attempt_count']}",
                type=event["type"],
                body=json.dumps(translated(event, invoice)),
                created_at=now,
                attempts=0,
                next_attempt_at=now,
            )
            .on_conflict_do_nothing(index_elements=["dedupe_key"])
        )
    return {"received": "translated"}


def verify(body: bytes, header: str) -> None:
    parts = dict(part.split("=", 1) for part in header.split(","))
    signed = parts["t"].encode() + b"." + body
    expected = hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, parts["v1"]) or abs(time.time() - int(parts["t"])) > 300:
        raise HTTPException(400)


def translated(event: dict[str, Any], invoice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"{event['id']}/{event['type']}",
        "type": event["type"],
        "version": 1,
        "occurred_at": event["created"],
        "correlation_id": event["id"],
        "data": {
            name: invoice.get(name)
            for name in (
                "id",
                "customer",
                "status",
                "currency",
                "amount_due",
                "amount_remaining",
                "amount_paid",
                "attempt_count",
                "attempted",
                "collection_method",
                "billing_reason",
                "number",
                "next_payment_attempt",
            )
        },
    }
