"""The whole sandbox as one WSGI application: Stripe's API, its hosted pages, the mailbox, the console."""

from __future__ import annotations

import logging
from functools import partial

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from sandbox import addresses, connect_pages, console, mail, pages, stripe_api
from sandbox.config import SandboxConfig
from sandbox.faults import Faults

log = logging.getLogger(__name__)


def _failed(error: Exception) -> Response | HTTPException:
    """A bug of ours. Flask's own log line would name the path, and paths hold secrets."""
    if isinstance(error, HTTPException):
        return error
    log.error("request failed", exc_info=error)
    body = '{"error": {"type": "api_error", "message": "An unknown error occurred"}}'
    return Response(body, 500, content_type="application/json")


def create_app(config: SandboxConfig) -> Flask:
    """Build the application and start its threads (webhooks, clock).

    `app.extensions` holds `world` (`stripe_api.StripeApi`), `mailbox` (`mail.Mailbox`), `faults` (`faults.Faults`) and
    what the blueprints add. Stop with `app.extensions["world"].stop()`.
    """
    app = Flask(__name__, static_folder=None)
    world = stripe_api.StripeApi(config)
    mailbox = mail.Mailbox(config.public_url, config.sendgrid_webhook_url, config.state_path)
    faults = Faults(
        partial(stripe_api.keep_answer, world), lambda: stripe_api.present_place(world).account
    )
    app.extensions.update(world=world, mailbox=mailbox, faults=faults)
    faults.install(app)
    app.register_error_handler(Exception, _failed)
    addresses.install(app, world)
    present = addresses.present(world)
    addresses.everybodys(app, pages.blueprint(present))
    app.register_blueprint(mail.blueprint(mailbox))
    app.register_blueprint(connect_pages.blueprint(world))
    addresses.everybodys(app, console.blueprint(present, mailbox))
    app.register_blueprint(stripe_api.blueprint(world))
    world.start()
    return app
