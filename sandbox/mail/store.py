"""The mailbox on disk: mails and the signing key in one SQLite file, when a path is given."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS mail_messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS mail_values (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""


class Store:
    """Keeps mails across restarts. The caller holds a lock: one statement at a time."""

    def __init__(self, path: str | Path) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5)
        # A crash may cost the newest mails of a stand-in, and a commit a mail must stay cheap.
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """Documents of the newest ``limit`` mails, oldest first."""
        rows = self._db.execute(
            "SELECT document FROM mail_messages ORDER BY number DESC LIMIT ?", (limit,)
        ).fetchall()
        return [json.loads(document) for (document,) in reversed(rows)]

    def accepted(self) -> int:
        """Mails ever added since the mailbox was last emptied."""
        return int(self.value("accepted") or b"0")

    def add(self, mail_id: str, document: dict[str, Any], accepted: int, keep: int) -> None:
        """Write one mail and the counter in one commit; forget all but the newest ``keep``."""
        self._db.execute("BEGIN")
        cursor = self._db.execute(
            "INSERT INTO mail_messages (id, document) VALUES (?, ?)",
            (mail_id, json.dumps(document)),
        )
        self._db.execute(
            "DELETE FROM mail_messages WHERE number <= ?", ((cursor.lastrowid or 0) - keep,)
        )
        self.keep_value("accepted", str(accepted).encode())
        self._db.execute("COMMIT")

    def update(self, mail_id: str, document: dict[str, Any]) -> None:
        """Replace the document of a mail that is kept."""
        self._db.execute(
            "UPDATE mail_messages SET document = ? WHERE id = ?", (json.dumps(document), mail_id)
        )

    def empty(self) -> None:
        """Forget all mails and count from zero; the signing key stays."""
        self._db.execute("BEGIN")
        self._db.execute("DELETE FROM mail_messages")
        self.keep_value("accepted", b"0")
        self._db.execute("COMMIT")

    def value(self, name: str) -> bytes | None:
        """A stored value, or None."""
        row = self._db.execute("SELECT value FROM mail_values WHERE name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def keep_value(self, name: str, value: bytes) -> None:
        """Store ``value`` under ``name``."""
        self._db.execute(
            "INSERT INTO mail_values VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )
