"""`python -m services.<name> prune --older-than 90d`: what a service's slow loop deletes, now and for once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from shared.clock import utc_now
from shared.database import Transactions, make_engine
from shared.retention import BATCH, RETENTION, Rule, parse_age, prune_some
from shared.service_settings import ServiceSettings


def prune_command(
    service: str, rules: Sequence[Rule]
) -> Callable[[ServiceSettings, list[str]], int]:
    """The command `prune` of `service`."""

    def prune(settings: ServiceSettings, words: list[str]) -> int:
        from shared.terminal import say  # typer: a serving process never needs them

        parser = argparse.ArgumentParser(
            prog="prune",
            description="Delete rows that only prove that something was done long ago.",
        )
        parser.add_argument(
            "--older-than", default=f"{RETENTION.days}d", metavar="AGE", help="default: %(default)s"
        )
        chosen = parser.parse_args(words)
        try:
            age = parse_age(chosen.older_than)
        except ValueError as error:
            parser.error(f"--older-than: {error}")
        database = Transactions(make_engine(settings.database_url.reveal()), service)
        total: dict[str, int] = {}
        try:
            more = True
            while more:
                gone = prune_some(database, rules, utc_now(), age)
                for name, count in gone.items():
                    total[name] = total.get(name, 0) + count
                more = any(count >= BATCH for count in gone.values())
        finally:
            database.engine.dispose()
        for name, count in total.items():
            say(f"{name}: {count} deleted")
        return 0

    return prune
