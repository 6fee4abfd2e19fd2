"""A service's own database, injected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import eventlet
from nameko.extensions import DependencyProvider

from shared.database import (
    CONNECT_SECONDS,
    MOST_CONNECTIONS,
    DatabaseUnavailable,
    Transactions,
    WrongSchema,
    make_engine,
)
from shared.database_errors import reason_of


class Database(DependencyProvider):
    """Injects `Transactions` on the database of the service's settings (`settings.database_url`).

    `schema_of` names whose schema it must have, for a service that goes by another name than the owner of its tables. `info` makes of the
    service's settings what each session is to know of them.
    """

    transactions: Transactions

    def __init__(
        self,
        schema_of: str | None = None,
        info: Callable[[Any], Mapping[str, Any]] = lambda settings: {},
    ) -> None:
        super().__init__()
        self._info = info
        self._schema_of = schema_of

    def setup(self) -> None:
        settings = self.container.config["settings"]
        workers = self.container.max_workers
        self.transactions = Transactions(
            # No overflow: what was opened under load stays open, or each transaction of a busy service would open one anew.
            make_engine(
                settings.database_url.reveal(),
                pool_size=min(MOST_CONNECTIONS, 10 + workers),
                max_overflow=0,
            ),
            self._schema_of or self.container.service_name,
            self._info(settings),
        )
        # Another service's database is a wrong setting; one that is away, or not migrated yet, is waited for.
        try:
            with self.transactions.transaction():
                pass
        except WrongSchema as error:
            error.schema.refuse_wrong_owner()
        except DatabaseUnavailable:
            pass

    def stop(self) -> None:
        self.transactions.engine.dispose()

    kill = stop

    def get_dependency(self, worker_ctx: Any) -> Transactions:
        return self.transactions

    def readiness(self) -> str | None:
        """None when the database answers, takes writes and has our schema, else what is wrong (for `/readyz`)."""
        try:
            with eventlet.Timeout(CONNECT_SECONDS, DatabaseUnavailable("no answer in time")):
                self.transactions.ping()
        except DatabaseUnavailable as error:
            return str(error)
        except Exception as error:
            return reason_of(error)
        return None
