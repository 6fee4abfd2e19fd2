"""The sendgrid library as its documentation shows it: a client, a message, `send`; one after another."""

from __future__ import annotations

import sys
import time

from sendgrid import SendGridAPIClient  # noqa: TID251
from sendgrid.helpers.mail import Mail  # noqa: TID251


def main(address: str, mails: int) -> float:
    """Mails a second."""
    client = SendGridAPIClient("SG.bench", host=address)
    began = time.perf_counter()
    for number in range(mails):
        client.send(
            Mail(
                from_email="billing@portico.example",
                to_emails=f"c{number}@customers.example",
                subject="Your payment didn’t go through",
                html_content="<p>hello</p>" * 1500,
            )
        )
    return mails / (time.perf_counter() - began)


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2])))
