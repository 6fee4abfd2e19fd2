"""The yardstick: the same two jobs as a good team writes them by hand with FastAPI, SQLAlchemy's asyncio and asyncpg, by one
statement each: a look that PostgreSQL answers as JSON, and one that writes inbox and outbox together. With `DRIVER=asyncpg` without
SQLAlchemy, which is the leanest that can be had.

Runs in an environment of its own (`requirements-bench.txt`): uvicorn, uvloop, httptools, one process, no access log. It is
kept lean where ours does more: no translations, no time zones, no limits, no metrics, no health checks, no relay, fewer
columns. What it lacks: requests that come together don't share a statement or a commit.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import hmac
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import HTMLResponse
from itsdangerous import BadSignature, Signer
from jinja2 import Environment
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

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


LOOK = """
SELECT json_build_object(
  'name', c.name,
  'paying', c.platform_stripe_customer_id IS NOT NULL,
  'generation', c.link_generation,
  'business', json_build_object('name', b.name, 'email', b.email, 'phone', b.phone, 'website', b.website),
  'appointments', (
    SELECT coalesce(json_agg(a), '[]') FROM (
      SELECT id, title, starts_at, ends_at, location FROM appointments
      WHERE customer_pk = c.id AND coalesce(ends_at, starts_at) >= $2
      ORDER BY starts_at LIMIT 8) a),
  'invoices', (
    SELECT coalesce(json_agg(i), '[]') FROM (
      SELECT number, amount_remaining, first_failed_at, next_payment_attempt, card_brand, card_last4 FROM invoices
      WHERE stripe_customer_id = c.platform_stripe_customer_id AND first_failed_at IS NOT NULL
        AND status IN ('open', 'draft')) i))
FROM customers c JOIN businesses b ON b.id = c.business_pk
WHERE c.public_id = $1
"""
STORE = """
WITH stored AS (
  INSERT INTO inbox (id, type, api_version, livemode, created, received_at, status, payload)
  VALUES ($1, $2, $3, $4, $5, $6, 'translated', $7)
  ON CONFLICT (account, id) DO NOTHING RETURNING type, received_at
), queued AS (
  INSERT INTO outbox (event_id, dedupe_key, type, body, created_at, attempts, next_attempt_at)
  SELECT $8::text, $9::text, type, $10::text, received_at, 0, received_at FROM stored
  ON CONFLICT (dedupe_key) DO NOTHING
)
SELECT count(*) FROM stored
"""

LIKE_OURS = {"default_toast_compression": "lz4"}
"""What our sessions set."""

Ask = Callable[..., Awaitable[Any]]
"""`ask(statement, *parameters)`: the one value that the statement gives, committed."""
ask: dict[str, Ask] = {}
"""By database."""


def through_sqlalchemy(url: str, stack: contextlib.AsyncExitStack) -> Ask:
    engine: AsyncEngine = create_async_engine(
        url.replace("psycopg2", "asyncpg"),
        pool_size=20,
        max_overflow=0,
        connect_args={"server_settings": LIKE_OURS},
    )
    stack.push_async_callback(engine.dispose)

    async def one(statement: str, *parameters: Any) -> Any:
        async with engine.begin() as connection:
            return (await connection.exec_driver_sql(statement, parameters)).scalar()

    return one


async def nothing_to_reset(_: Any) -> None:
    """These statements leave nothing behind in a session, so the round trip that would clean it is spared."""


async def through_asyncpg(url: str, stack: contextlib.AsyncExitStack) -> Ask:
    pool = await asyncpg.create_pool(
        url.replace("+psycopg2", ""),
        min_size=1,
        max_size=20,
        reset=nothing_to_reset,
        server_settings=LIKE_OURS,
    )
    stack.push_async_callback(pool.close)

    async def one(statement: str, *parameters: Any) -> Any:
        return await pool.fetchval(statement, *parameters)

    return one


@contextlib.asynccontextmanager
async def connected(_: FastAPI) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for name in ("portal", "billing"):
            url = os.environ[f"{name.upper()}_DATABASE_URL"]
            if os.environ.get("DRIVER") == "asyncpg":
                ask[name] = await through_asyncpg(url, stack)
            else:
                ask[name] = through_sqlalchemy(url, stack)
        yield


page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
page.filters["moment"] = dt.datetime.fromisoformat
template = page.from_string((HERE / "fastapi_page.html").read_text("utf-8"))
app = FastAPI(openapi_url=None, lifespan=connected)


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    return {"ready": True}


@app.get("/me/{token}", response_class=HTMLResponse)
async def me(token: str) -> HTMLResponse:
    public_id, generation = read_token(token)
    found = await ask["portal"](LOOK, public_id, dt.datetime.now(dt.UTC))
    customer = json.loads(found) if isinstance(found, str) else found
    if customer is None or customer["generation"] != generation:
        raise HTTPException(404)
    html = template.render(style=STYLE, customer=customer, token=token)
    return HTMLResponse(
        html, headers={"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
    )


def read_token(token: str) -> tuple[str, int]:
    try:
        payload = SIGNER.unsign(token)
        raw = base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))
    except (BadSignature, ValueError):
        raise HTTPException(404) from None
    public_id = base64.urlsafe_b64encode(raw[:16]).rstrip(b"=").decode()
    return public_id, int.from_bytes(raw[16:], "big")


@app.post("/webhooks/stripe")
async def webhook(request: Request, stripe_signature: str = Header()) -> dict[str, str]:
    body = await request.body()
    verify(body, stripe_signature)
    event: dict[str, Any] = json.loads(body)
    invoice = event["data"]["object"]
    stored = await ask["billing"](
        STORE,
        event["id"],
        event["type"],
        event["api_version"],
        event["livemode"],
        event["created"],
        dt.datetime.now(dt.UTC),
        body.decode(),
        f"{event['id']}/{event['type']}",
        f"{event['type']}:{invoice['id']}:{invoice['attempt_count']}",
        json.dumps(translated(event, invoice)),
    )
    return {"received": "translated" if stored else "duplicate"}


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
