"""`make run`: all of Portico and the sandbox in one process. For looking and developing, not for production.

In-memory broker, SQLite files, a stand-in for Stripe and the mailbox. Every setting has a default here and can
be overridden in the environment; with `AMQP_URI` and the database URLs the same services use real servers, with
`STRIPE_API_KEY=sk_test_…` they talk to Stripe's test mode.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import eventlet
from eventlet import wsgi
from sqlalchemy.exc import SQLAlchemyError

import local.memory_broker  # noqa: F401  (registers embedded://)
from examples.host_app import Portico
from local.folder import make_folder, only_one, shown
from local.ports import PORTS, CannotStart, chosen_ports, taken
from local.sandboxed import mail_settings, stripe_settings
from local.servers import is_free
from sandbox import demo
from sandbox.app import create_app
from sandbox.config import SandboxConfig
from sandbox.keys import own_secrets
from sandbox.private import OTHERS, open_private, tighten
from services.billing import settings as billing_settings
from services.billing.service import BillingService
from services.notifier import settings as notifier_settings
from services.notifier.service import NotifierService
from services.portal import settings as portal_settings
from services.portal.domain.api_keys import hint
from services.portal.service import PortalService
from services.portal.web.connect_page import RETURN_PATH
from shared.contracts.rpc.api_keys import SCOPES
from shared.database_errors import is_away, reason_of
from shared.messaging.amqp import BROKER_ERRORS, is_embedded, make_connection, trouble_of
from shared.migrations import upgrade
from shared.nameko_ext.runtime import Running, start_tracing, stop_tracing
from shared.settings import Reader, SettingsError
from shared.telemetry import configure_logging

HOST: Final = "127.0.0.1"
KEY_FILE: Final = "api.key"
"""In the folder of data: the key of the HTTP API that `make run` makes, since nobody else can reach its broker."""
BUSINESS_KEY_FILE: Final = "business.key"
"""Beside it, where there is the demo: one for its business alone."""
KEY_NAME: Final = "make run"


@dataclass(frozen=True)
class Places:
    """Where this run listens and keeps its files."""

    folder: Path
    ports: Mapping[str, int]

    def url(self, name: str) -> str:
        return f"http://{HOST}:{self.ports[name]}"


def places(environ: Mapping[str, str]) -> Places:
    """Ports and folder from PORTAL_PORT, BILLING_PORT, NOTIFIER_PORT, API_PORT, SANDBOX_PORT and PORTICO_VAR."""
    ports = chosen_ports(environ, PORTS)
    for name, port in ports.items():
        if not is_free(port):
            raise taken(name, port, "make run")
    return Places(data_folder(environ), ports)


def data_folder(environ: Mapping[str, str]) -> Path:
    """The folder of this run, `var` or PORTICO_VAR, with nothing of ours in it that others can read."""
    chosen = environ.get("PORTICO_VAR")
    folder = Path(chosen or "var").absolute()
    make_folder(folder)
    tighten(file for pattern in OUR_FILES for file in folder.glob(pattern))
    if not chosen:  # a folder of somebody's choice may be shared on purpose
        tighten([folder])
    return folder


OUR_FILES: Final = ("secrets.json", KEY_FILE, BUSINESS_KEY_FILE, "*.sqlite3*", "portico.log")


def environment(
    run: Places, environ: Mapping[str, str], mail_key: str
) -> dict[str, dict[str, str]]:
    """The environment of each service: this run's defaults under what the caller has set."""
    common = {
        "AMQP_URI": "embedded://localhost/",
        "PUBLIC_URL": run.url("portal"),
        **stripe_settings(run.url("sandbox")),
        **mail_settings(run.url("sandbox"), mail_key),
        **own_secrets(run.folder),
    }
    if "PUBLIC_URL" not in environ:  # webhooks to a host on this machine
        common["HOOKS_ALLOW_LOOPBACK"] = "true"
    if environ.get("STRIPE_API_KEY", "").strip() or environ.get("STRIPE_API_KEY_FILE", "").strip():
        # Real test mode: nothing of the sandbox's Stripe may stand in for what is missing.
        secrets = ("STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRETS", "STRIPE_CONNECT_WEBHOOK_SECRETS")
        for name in (*stripe_settings(run.url("sandbox")), *secrets):
            del common[name]
    return {
        name: {
            **_unless_in_a_file(
                {
                    **common,
                    f"{name.upper()}_DATABASE_URL": f"sqlite:///{run.folder / name}.sqlite3",
                },
                environ,
            ),
            "API_ADDRESS": f"{HOST}:{run.ports['api']}",
            "API_MODE": "test",
            **environ,
            "HTTP_ADDRESS": f"{HOST}:{run.ports[name]}",
        }
        for name in ("portal", "billing", "notifier")
    }


def _unless_in_a_file(defaults: dict[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in defaults.items() if not environ.get(f"{name}_FILE")}


def api_key(file: Path, amqp_uri: str, business_id: str | None = None) -> str:
    """The key in `file`, of the installation or of one business, made anew where the portal doesn't know it, or it lacks a scope."""
    with Portico(amqp_uri, timeout=10) as portico:
        ours = [
            one
            for one in portico.call("portal", "api_keys")
            if (one["name"], one["business_id"]) == (KEY_NAME, business_id)
            and one["revoked_at"] is None
        ]
        if file.exists():
            key = file.read_text().strip()
            if any(one["hint"] == hint(key) and {*SCOPES} <= {*one["scopes"]} for one in ours):
                return key
        for one in ours:
            portico.call("portal", "revoke_api_key", key_id=one["key_id"])
        made = portico.call(
            "portal",
            "create_api_key",
            name=KEY_NAME,
            scopes=list(SCOPES),
            business_id=business_id,
        )
    key = str(made["key"])
    with open_private(file, "w") as stream:
        stream.write(f"{key}\n")
    return key


def _serve_sandbox(run: Places) -> Any:
    app = create_app(
        SandboxConfig(
            public_url=run.url("sandbox"),
            business_name=demo.BUSINESS_NAME,
            state_path=str(run.folder / "sandbox.sqlite3"),
            webhook_endpoints=(
                (
                    f"{run.url('billing')}/webhooks/stripe",
                    own_secrets(run.folder)["STRIPE_WEBHOOK_SECRETS"],
                ),
            ),
            connect_endpoints=(
                (
                    f"{run.url('billing')}/webhooks/stripe/connect",
                    own_secrets(run.folder)["STRIPE_CONNECT_WEBHOOK_SECRETS"],
                ),
            ),
            redirect_uris=(f"{run.url('portal')}{RETURN_PATH}",),
            sendgrid_webhook_url=f"{run.url('notifier')}/webhooks/sendgrid",
        )
    )
    listener = eventlet.listen((HOST, run.ports["sandbox"]), reuse_port=False)
    quiet = logging.getLogger("sandbox.http")
    eventlet.spawn_n(wsgi.server, listener, app, log=quiet, log_output=False, debug=False)
    return app


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Start everything, print where to look, run until Ctrl-C. Returns the exit code."""
    os.umask(OTHERS)
    try:
        run = places(environ)
        with only_one(run.folder, "make run"):
            return _run(run, environ)
    except (CannotStart, SettingsError) as error:
        print(error, file=sys.stderr)
        return 2


def _run(run: Places, environ: Mapping[str, str]) -> int:
    """As `main`. Raises CannotStart and SettingsError."""
    started = time.monotonic()
    reader = Reader(environ)
    level = reader.log_level()
    reader.done()
    log_file = run.folder / "portico.log"
    configure_logging("portico", level=level, stream=log_file.open("a"))
    sandbox = _serve_sandbox(run)
    env = environment(run, environ, sandbox.extensions["mailbox"].public_key)
    services: list[tuple[type, Any]] = [
        (PortalService, portal_settings.load(env["portal"])),
        (BillingService, billing_settings.load(env["billing"])),
        (NotifierService, notifier_settings.load(env["notifier"])),
    ]
    for service, settings in services:
        _migrate(service.name, settings.database_url.reveal())  # type: ignore[attr-defined]
    _reach_broker(env["portal"]["AMQP_URI"])
    start_tracing(services[0][1].tracing, "portico")
    running = Running(services)
    running.stop_on_signals()
    running.start()
    api_key(run.folder / KEY_FILE, env["portal"]["AMQP_URI"])
    customers: list[dict[str, Any]] = []
    if env["billing"].get("STRIPE_API_BASE") == run.url("sandbox"):
        customers = demo.seed(
            env["portal"]["AMQP_URI"], run.url("sandbox"), env["billing"]["STRIPE_API_KEY"]
        )
        sandbox.extensions["demo_customers"].show(customers)
        api_key(run.folder / BUSINESS_KEY_FILE, env["portal"]["AMQP_URI"], demo.BUSINESS)
    _say(run, env, customers, time.monotonic() - started, live=services[1][1].livemode)
    running.wait()
    stop_tracing()
    print("\nStopped. Data is kept; `make clean` removes it.")
    return 0


def _migrate(service: str, url: str) -> None:
    """Raises CannotStart where the database does not answer."""
    try:
        upgrade(service, url)
        upgrade(service, url, after_roll=True)  # nobody else works on this database
    except SQLAlchemyError as error:
        if not is_away(error):
            raise
        setting = f"{service.upper()}_DATABASE_URL"
        raise CannotStart(
            f"{setting}: {reason_of(error)}. See to it, or unset {setting}: SQLite is used then"
        ) from None


def _reach_broker(uri: str) -> None:
    """Raises CannotStart where a broker of somebody's own does not let us in."""
    connection: Any = make_connection(uri)
    try:
        connection.connect()
    except BROKER_ERRORS as error:
        raise CannotStart(
            f"AMQP_URI: RabbitMQ can't be used: {trouble_of(error)}. See to it, or unset AMQP_URI: an in-memory broker is used then"
        ) from None
    finally:
        connection.collect()


def _say(
    run: Places,
    env: dict[str, dict[str, str]],
    customers: list[dict[str, Any]],
    seconds: float,
    *,
    live: bool,
) -> None:
    lines = [f"Portico is ready ({seconds:.1f} s). Open:", ""]
    if customers:
        lines += [
            f"  {run.url('sandbox')}/         the sandbox: decline a charge and follow the story"
        ]
        lines += [f"  {run.url('sandbox')}/inbox    the mailbox"]
        lines += ["", "  A page for each kind of customer:"]
        lines += [f"  {person['link']}   {person['description']}" for person in customers]
    else:
        lines += [
            "  Talking to Stripe with your own key. Forward webhooks with Stripe's CLI:",
            f"  stripe listen --forward-to {run.url('billing')}/webhooks/stripe",
            f"  {run.url('sandbox')}/inbox    the mailbox (emails stay here)",
        ]
    if live:
        lines += [
            "",
            "  THE KEY IS LIVE: new cards are charged real money. Take a test key, or set MODE=observe.",
        ]
    broker = is_embedded(env["portal"]["AMQP_URI"])
    lines += [
        "",
        f"  The API for your own software ({shown(run.folder / KEY_FILE)} is a key for it; docs/integration.md goes on):",
        f'  curl -H "Authorization: Bearer $(cat {shown(run.folder / KEY_FILE)})" http://{env["portal"]["API_ADDRESS"]}/api/v1/businesses',
        *(
            [f"  {shown(run.folder / BUSINESS_KEY_FILE)} is one for {demo.BUSINESS} alone."]
            if customers
            else []
        ),
        "",
        "Embedded: "
        + ("an in-memory broker, " if broker else "your RabbitMQ, ")
        + "SQLite unless a database URL is set, a stand-in for Stripe and the mailbox,",
        "all in this one process, open to this machine only. For looking and developing; nothing here is durable"
        if broker
        else "in this one process, open to this machine only. For looking and developing",
        f"like RabbitMQ and PostgreSQL are (`make stack`). Logs: {shown(run.folder)}/portico.log. Stop: Ctrl-C.",
    ]
    print("\n".join(lines), flush=True)
