"""The sandbox alone: `python -m sandbox.server`.

SANDBOX_ADDRESS (default 127.0.0.1:8010), SANDBOX_STATE (an SQLite file; memory if it is not set),
SANDBOX_WEBHOOK_URL with SANDBOX_WEBHOOK_SECRET, SANDBOX_SENDGRID_WEBHOOK_URL, and SANDBOX_PUBLIC_URL where browsers
reach it under another name than its address.
"""

import shared.green  # noqa: F401, I001  (patches the standard library before anything else is imported)

import logging
import os
import signal
import sys
from collections.abc import Mapping

import eventlet
from eventlet import wsgi

from sandbox.app import create_app
from sandbox.config import SandboxConfig
from sandbox.private import OTHERS


class BadSetting(Exception):
    """A setting is wrong; the text names it and says what it should look like."""


def configure(environ: Mapping[str, str]) -> tuple[tuple[str, int], SandboxConfig]:
    """(address to listen on, settings); raises BadSetting."""
    text = environ.get("SANDBOX_ADDRESS", "127.0.0.1:8010")
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise BadSetting(f"SANDBOX_ADDRESS is {text!r}; it must look like 127.0.0.1:8010")
    url, secret = environ.get("SANDBOX_WEBHOOK_URL"), environ.get("SANDBOX_WEBHOOK_SECRET")
    if bool(url) != bool(secret):
        raise BadSetting("SANDBOX_WEBHOOK_URL and SANDBOX_WEBHOOK_SECRET go together")
    config = SandboxConfig(
        public_url=environ.get("SANDBOX_PUBLIC_URL", f"http://{host}:{port}").rstrip("/"),
        state_path=environ.get("SANDBOX_STATE") or None,
        webhook_endpoints=((url, secret),) if url and secret else (),
        sendgrid_webhook_url=environ.get("SANDBOX_SENDGRID_WEBHOOK_URL") or None,
    )
    return (host, int(port)), config


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Serve until SIGTERM or Ctrl-C; returns the exit code."""
    os.umask(OTHERS)
    try:
        address, config = configure(environ)
        listener = eventlet.listen(address)
    except BadSetting as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"SANDBOX_ADDRESS: can't listen there: {error.strerror}", file=sys.stderr)
        return 2
    app = create_app(config)

    def stop(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    print(f"sandbox: {config.public_url}", flush=True)
    quiet = logging.getLogger("sandbox.http")
    try:
        # No access log: paths and query strings hold secrets.
        wsgi.server(listener, app, log=quiet, log_output=False, debug=False)
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        app.extensions["world"].stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
