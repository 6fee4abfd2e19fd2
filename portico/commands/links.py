"""`portico customers links`: the links of a business's customers, for a mailing that its host sends itself."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from portico.cli.context import context_of
from portico.cli.options import Business
from portico.cli.output import new_private_file, progress_bar
from portico.cli.rpc import Caller, Fault, pages, read
from portico.spreadsheets import guarded
from shared.contracts.rpc import portal
from shared.terminal import complain

PAGE: Final = 1000
AT_ONCE: Final = 50
"""Links that are asked for at the same time."""
COLUMNS: Final = ("external_id", "name", "email", "locale", "url")


def links(
    ctx: typer.Context,
    business: Business,
    file: Annotated[
        Path,
        typer.Option("--csv", metavar="FILE", help="A new file, made readable for you alone."),
    ],
) -> None:
    """Write each customer's link into a CSV file, for a mailing of your own: external_id, name, email, locale, url.

    The links are secrets: each opens its customer's page without a sign-in. The file is made with mode 0600; put each link into the
    mail to its own customer and nowhere else, and delete the file after that. `portico link --rotate` makes a link that got about useless.

    Example: portico customers links --business sunrise-cleaning --csv links.csv
    """
    done = gone = 0
    with (
        new_private_file(file, "--csv") as stream,
        context_of(ctx).calling(timeout=30) as call,
        progress_bar("count") as bar,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        task = bar.add_task("links", total=None, count="")
        for page in pages(call, portal.EXPORT_CUSTOMERS, 0, business_id=business, limit=PAGE):
            if page.total is not None:
                bar.update(task, total=page.total)
            for customer, url in _linked(call, page.customers):
                if url is None:
                    gone += 1
                    continue
                about = (customer.external_id, customer.name, customer.email, customer.locale or "")
                writer.writerow([*map(guarded, about), url])
                done += 1
            bar.update(task, completed=done + gone, count=f"{done:,}")
    complain(
        f"{done:,} links written to {file}: whoever has one sees that customer's page, so delete the file when they are mailed"
    )


def _linked(
    call: Caller, customers: Iterable[portal.ExportedCustomer]
) -> Iterator[tuple[portal.ExportedCustomer, str | None]]:
    """Each customer with the link, in order; None for one who was erased meanwhile. Raises Fault, Unavailable."""
    waiting: deque[tuple[portal.ExportedCustomer, str]] = deque()
    method = portal.LINK
    for customer in customers:
        if len(waiting) == AT_ONCE:
            yield _answered(call, *waiting.popleft())
        asked = call.send(method.service, method.name, customer_id=customer.customer_id)
        waiting.append((customer, asked))
    while waiting:
        yield _answered(call, *waiting.popleft())


def _answered(
    call: Caller, customer: portal.ExportedCustomer, asked: str
) -> tuple[portal.ExportedCustomer, str | None]:
    try:
        return customer, read(portal.LINK, call.wait(asked)).url
    except Fault as fault:
        if fault.error != "NotFound":
            raise
        return customer, None
