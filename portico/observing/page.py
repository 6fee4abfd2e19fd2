"""The page of `portico preview --html`: one file that needs nothing else, light and dark, for a phone, a desk and paper."""

from __future__ import annotations

import datetime as dt
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path
from typing import IO, Final

from portico.charts import STYLE as HOUSE_STYLE
from portico.cli.output import private_file
from portico.figures import money, number_of
from portico.observing.reading import FORGIVEN, Mail, Observed
from portico.observing.totals import ENDS, Sums, Totals
from shared.l10n.dates import brief_day
from shared.l10n.locales import ENGLISH

COLOURS: Final = {
    "paid": "recovered",
    FORGIVEN: "forgiven",
    "voided": "lost",
    "written off": "failed",
    "still open": "open",
}
"""Of what became of an invoice, by the names of the house's style; what is not known has none."""
STYLE: Final = """
main { grid-template-columns: repeat(6, minmax(0, 1fr)); }
.rows { font-size: .9rem; } .rows thead th { font-size: .8rem; padding-bottom: .5rem; border-top: 0; vertical-align: bottom; }
.rows th, .rows td { text-align: left; vertical-align: top; padding: .5rem 1rem .5rem 0; }
.rows td { overflow-wrap: anywhere; } .rows td.amount, .rows th.amount { text-align: right; white-space: nowrap; }
.rows td:last-child, .rows th:last-child { padding-right: 0; }
.rows td.invoice { white-space: nowrap; overflow-wrap: normal; } .rows small { display: block; color: var(--soft); font-size: .8rem; } .rows .moment { white-space: nowrap; }
.end { white-space: nowrap; } .end::before { content: ""; display: inline-block; width: .6em; height: .6em; border-radius: 50%;
  margin-right: .45em; background: currentColor; color: var(--line); }
.end.recovered::before { color: var(--recovered); } .end.forgiven::before { color: var(--forgiven); } .end.lost::before { color: var(--lost); }
.end.failed::before { color: var(--failed); } .end.open::before { color: var(--open); }
.half dl { grid-template-columns: 1fr max-content; } .half dt { overflow-wrap: anywhere; } .half dd { display: block; text-align: right; }
.figure b + b { font-size: 1.35rem; } footer { grid-column: 1 / -1; color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) { h1 { font-size: 1.4rem; line-height: 1.25; } .rows thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  .rows, .rows tbody { display: block; } .rows tr { display: grid; grid-template-columns: minmax(0, 1fr) max-content; gap: .1rem .75rem; padding: .75rem 0;
  border-top: 1px solid var(--line); } .rows tbody tr:first-child { border-top: 0; padding-top: 0; }
  .rows td { border: 0; padding: 0; } .rows td.whom { order: 1; font-weight: 600; } .rows td.whom small { font-weight: 400; }
  .rows td.amount { order: 2; font-weight: 600; } .rows td.why { order: 3; } .rows td.became { order: 4; text-align: right; }
  .rows td.moment { order: 5; color: var(--soft); font-size: .8rem; } .rows td.invoice { order: 6; color: var(--soft); font-size: .8rem; text-align: right; } }
@media (max-width: 26rem) { .figure { grid-column: 1 / -1; } .figure b + b { font-size: 1.2rem; } }
@media print { :root { color-scheme: light; --ground: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc; --recovered: #2e7d4f;
  --open: #b07a16; --lost: #8a4f86; --failed: #b3423a; --forgiven: #8d8a80; } body { padding: 0; font-size: 11pt; } section { border: 0; border-radius: 0; padding: .5rem 0; }
  .rows { font-size: 9pt; } .rows thead { display: table-header-group; } .rows tr, .figure { break-inside: avoid; }
  .end::before { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


class Page:
    """The page, which is written when everything has been read: till then its rows lie in files that nobody else sees."""

    def __init__(self, title: str, since: dt.datetime, until: dt.datetime) -> None:
        self.title, self.since, self.until = title, since, until

    def __enter__(self) -> Page:
        with ExitStack() as files:
            self._mails, self._charges = (
                files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
                for _ in range(2)
            )
            self._files = files.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._files.close()

    def add(self, one: Observed) -> None:
        """A row of an email, or of a charge."""
        (self._mails if isinstance(one, Mail) else self._charges).write(_row(one, self.until))

    def write(self, path: Path, totals: Totals) -> None:
        """Write the page for you alone. Raises OSError."""
        with private_file(path) as stream:
            stream.write(self._head(totals))
            _copy(stream, "Emails", self._mails, totals.mails, "Nobody would have been written to.")
            _copy(
                stream, "Charges", self._charges, totals.charges, "Nothing would have been charged."
            )
            stream.write(
                "<footer>“Meanwhile” is what Stripe has told us by now. An email that is accepted is looked at again before it goes: none goes "
                "about what is paid or voided.</footer></main></body></html>\n"
            )

    def _head(self, totals: Totals) -> str:
        title = escape(self.title)
        period = f"{_moment(self.since, self.until)} to {_moment(self.until, self.until)} (UTC)"
        parts = [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta name="referrer" content="no-referrer"><title>{title}</title>',
            f"<style>{HOUSE_STYLE}{STYLE}</style></head><body><main>",
            f"<header><h1>{title}</h1><p>{escape(period)}. None of it was sent or charged.</p></header>",
            _figure(
                [f"{totals.mails:,}"],
                f"email{'' if totals.mails == 1 else 's'}, about {number_of(totals.customers, 'customer')}",
            ),
            _figure(totals.owed.of() or ["–"], "asked for in them"),
            _figure(
                totals.owed.of("paid") or ["–"],
                f"paid meanwhile, {number_of(totals.owed.invoices['paid'], 'invoice')}",
            ),
            _half("Why", totals.kinds.most_common()),
            _half("What Stripe did meanwhile", _ends(totals.owed)),
        ]
        if totals.charges:
            parts += [
                _figure(
                    [f"{totals.charges:,}"],
                    f"charge{'' if totals.charges == 1 else 's'} to a new payment method",
                ),
                _figure(totals.charged.of() or ["–"], "would have been charged"),
                _figure(totals.charged.of("paid") or ["–"], "of it paid meanwhile"),
            ]
        return "\n".join(parts) + "\n"


def _figure(values: list[str], words: str) -> str:
    shown = "".join(f"<b>{escape(value)}</b>" for value in values)
    return f'<section class="figure">{shown}<span>{escape(words)}</span></section>'


def _half(title: str, rows: Sequence[tuple[str, int | str]]) -> str:
    lines = "".join(
        f"<dt>{escape(name)}</dt><dd><b>{value:,}</b></dd>"
        if isinstance(value, int)
        else f"<dt>{escape(name)}</dt><dd><b>{escape(value)}</b></dd>"
        for name, value in rows
    )
    return f'<section class="half"><h2>{escape(title)}</h2><dl>{lines or "<dt>None</dt>"}</dl></section>'


def _ends(sums: Sums) -> list[tuple[str, int | str]]:
    return [
        (f"{end} ({sums.invoices[end]:,})", ", ".join(sums.of(end)) or "–")
        for end in ENDS
        if sums.invoices[end]
    ]


def _row(one: Observed, now: dt.datetime) -> str:
    invoice, detail = one.invoice, ""
    if one.to.detail:
        detail = f"<small>{escape(one.to.detail)}</small>"
    amount = end = number = "–"
    if invoice is not None:
        amount, number = money(invoice.amount, invoice.currency), invoice.number or invoice.id
        end = f'<span class="end {COLOURS.get(invoice.end, "")}">{escape(invoice.end)}</span>'
    return (
        f'<tr><td class="moment">{_moment(one.at, now)}</td><td class="whom">{escape(one.to.name)}{detail}</td>'
        f'<td class="why">{escape(one.why)}</td><td class="amount">{escape(amount)}</td><td class="became">{end}</td>'
        f'<td class="invoice">{escape(number)}</td></tr>\n'
    )


def _moment(at: dt.datetime, now: dt.datetime) -> str:
    """`Nov 23, 10:00`, with its year where that is another one."""
    at = at.astimezone(dt.UTC)
    return f"{brief_day(at.date(), ENGLISH, year=at.year != now.year)}, {at:%H:%M}"


def _copy(stream: IO[str], title: str, rows: IO[str], count: int, empty: str) -> None:
    if not count:
        stream.write(f"<section><h2>{title}</h2><p>{empty}</p></section>\n")
        return
    stream.write(
        f'<section><h2>{title}</h2><table class="rows"><thead><tr><th scope="col">When (UTC)</th><th scope="col">To</th><th scope="col">Why</th>'
        '<th scope="col" class="amount">Amount</th><th scope="col">Meanwhile</th><th scope="col">Invoice</th></tr></thead><tbody>\n'
    )
    rows.seek(0)
    shutil.copyfileobj(rows, stream)
    stream.write("</tbody></table></section>\n")
