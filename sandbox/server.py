"""The sandbox alone: `python -m sandbox.server`.

SANDBOX_ADDRESS (default 127.0.0.1:8010), SANDBOX_STATE (an SQLite file; memory if it is not set),
SANDBOX_WEBHOOK_URL with SANDBOX_WEBHOOK_SECRET, SANDBOX_SENDGRID_WEBHOOK_URL, and SANDBOX_PUBLIC_URL where browsers
reach it under another name than its address. Of a platform: SANDBOX_CONNECT_WEBHOOK_URL with
SANDBOX_CONNECT_WEBHOOK_SECRET for the events of connected accounts, and SANDBOX_REDIRECT_URIS where OAuth may lead back to.
"""

import shared.nameko_ext.green  # noqa: F401, I001  (patches the standard library before anything else is imported)

import logging
import os
import signal
import sys
from collections.abc import Mapping

import eventlet
from eventlet import wsgi

from sandbox.app import create_app
from sandbox.config import BadSetting, configure
from sandbox.private import OTHERS


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
