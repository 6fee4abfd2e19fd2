"""The whole sandbox as one WSGI application: Stripe's API, its hosted pages, the mailbox, the console."""

from __future__ import annotations

from flask import Flask

from sandbox import console, mail, pages, stripe_api
from sandbox.config import SandboxConfig
from sandbox.faults import Faults


def create_app(config: SandboxConfig) -> Flask:
    """Build the application and start its threads (webhooks, clock).

    `app.extensions` holds `world` (`stripe_api.World`), `mailbox` (`mail.Mailbox`), `faults` (`faults.Faults`) and
    what the blueprints add. Stop with `app.extensions["world"].stop()`.
    """
    app = Flask(__name__, static_folder=None)
    world = stripe_api.World(config)
    mailbox = mail.Mailbox(config.public_url, config.sendgrid_webhook_url, config.state_path)
    faults = Faults()
    app.extensions.update(world=world, mailbox=mailbox, faults=faults)
    faults.install(app)
    app.register_blueprint(pages.blueprint(world))
    app.register_blueprint(mail.blueprint(mailbox))
    app.register_blueprint(console.blueprint(world, mailbox))
    app.register_blueprint(stripe_api.blueprint(world))
    world.start()
    return app
