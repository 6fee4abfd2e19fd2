"""The sendgrid library as its documentation shows it: a client, a message, `send`; one after another.

Or a pool that may be called fair: threads of it, each of which commits a row "about to send" before a mail and "sent" after
it, as whoever must neither lose a mail nor send it twice has to (DATABASE, a libpq address, says where).
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2
from sendgrid import SendGridAPIClient  # noqa: TID251
from sendgrid.helpers.mail import Mail  # noqa: TID251

HTML = "<p>hello</p>" * 1500
TABLE = """
CREATE TABLE IF NOT EXISTS mails (
    id bigserial PRIMARY KEY, address text NOT NULL, status text NOT NULL, message_id text,
    created_at timestamptz NOT NULL DEFAULT now(), sent_at timestamptz)
"""

Send = Callable[[int], None]


@contextlib.contextmanager
def plain(address: str) -> Iterator[Send]:
    """Sends mails, and remembers nothing."""
    client = SendGridAPIClient("SG.bench", host=address)
    yield lambda number: client.send(mail(number)) and None


@contextlib.contextmanager
def durable(address: str, database: str) -> Iterator[Send]:
    """Sends mails with two commits each."""
    client, connection = SendGridAPIClient("SG.bench", host=address), psycopg2.connect(database)
    connection.autocommit = True
    cursor = connection.cursor()

    def send(number: int) -> None:
        cursor.execute(
            "INSERT INTO mails (address, status) VALUES (%s, 'about to send') RETURNING id",
            (f"c{number}@customers.example",),
        )
        (row,) = cursor.fetchone() or (None,)
        said = client.send(mail(number)).headers["X-Message-Id"]
        cursor.execute(
            "UPDATE mails SET status = 'sent', sent_at = now(), message_id = %s WHERE id = %s",
            (said, row),
        )

    yield send
    connection.close()


def mail(number: int) -> Mail:
    """A mail as large as ours."""
    return Mail(
        from_email="billing@portico.example",
        to_emails=f"c{number}@customers.example",
        subject="Your payment didn’t go through",
        html_content=HTML,
    )


def main(address: str, mails: int, threads: int) -> tuple[float, float]:
    """Mails a second, and ms of CPU a mail; durable with more than one thread."""
    database = os.environ.get("DATABASE", "")
    if threads > 1:
        with contextlib.closing(psycopg2.connect(database)) as connection:
            connection.autocommit = True
            connection.cursor().execute(TABLE)

    def work(first: int) -> None:
        with durable(address, database) if threads > 1 else plain(address) as send:
            for number in range(first, mails, threads):
                send(number)

    began, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    used = time.process_time() - cpu
    return mails / (time.perf_counter() - began), 1000 * used / mails


if __name__ == "__main__":
    print(*main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
