"""The sendgrid library as its documentation shows it: a client, a message, `send`; one after another."""

from __future__ import annotations

import sys
import time

from sendgrid import SendGridAPIClient  # noqa: TID251
from sendgrid.helpers.mail import Mail  # noqa: TID251


def main(address: str, mails: int) -> tuple[float, float]:
    """Mails a second, and ms of CPU a mail."""
    client = SendGridAPIClient("SG.bench", host=address)
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(mails):
        client.send(
            Mail(
                from_email="billing@portico.example",
                to_emails=f"c{number}@customers.example",
                subject="Your payment didn’t go through",
                html_content="<p>hello</p>" * 1500,
            )
        )
    used = time.process_time() - cpu
    return mails / (time.perf_counter() - began), 1000 * used / mails


if __name__ == "__main__":
    print(*main(sys.argv[1], int(sys.argv[2])))
