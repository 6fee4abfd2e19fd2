"""The page of `portico stats --html`: one file, inline SVG, light and dark, readable without colours and by ear."""

from __future__ import annotations

import math
from html import escape
from typing import Final

from portico.figures import duration, money
from shared.contracts.rpc.notifier import CurrencyStats, DayStats, RecoveryTime, Stats

FUNNEL: Final = ("failed", "mailed", "delivered", "recovered")
ENDS: Final = ("recovered", "forgiven", "open", "lost")
AMOUNTS: Final = ("recovered", "failed", "forgiven", "open", "lost")
"""The order in which money is told: what came in, first."""

STYLE: Final = """
:root { color-scheme: light dark; --ground: #fbfaf7; --card: #fff; --ink: #1c1f23; --soft: #5d646d; --line: #e3e0d8;
  --failed: #b3423a; --mailed: #3e6fa8; --delivered: #2f8296; --recovered: #2e7d4f; --open: #b07a16; --lost: #8a4f86; --forgiven: #8d8a80; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --card: #1c2024; --ink: #eceae4; --soft: #a3a9b0;
  --line: #31373d; --failed: #e2786d; --mailed: #7aa8dd; --delivered: #67b7c9; --recovered: #6cc08f; --open: #dcaa4d;
  --lost: #c58fc1; --forgiven: #8f949b; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2.5rem 1.25rem 4rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 60rem; margin: 0 auto; display: grid; gap: 1.25rem; grid-template-columns: repeat(6, 1fr); }
header { grid-column: 1 / -1; } h1 { margin: 0; font-size: 1.7rem; letter-spacing: -.02em; }
h2 { margin: 0 0 .9rem; font-size: 1rem; } p { margin: .2rem 0 0; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1.1rem 1.25rem; grid-column: 1 / -1; }
.figure { grid-column: span 2; } .figure b { display: block; font-size: 2rem; line-height: 1.15; letter-spacing: -.03em;
  font-variant-numeric: tabular-nums; } .figure span { color: var(--soft); }
.figure.money { grid-column: 1 / -1; } .figure.money b + b { font-size: 1.35rem; }
.half { grid-column: span 3; } svg { display: block; width: 100%; height: auto; overflow: hidden; }
text { fill: var(--ink); font: 13px system-ui, sans-serif; } .dim { fill: var(--soft); } .axis { stroke: var(--line); }
.failed { fill: var(--failed); } .mailed { fill: var(--mailed); } .delivered { fill: var(--delivered); }
.recovered { fill: var(--recovered); } .open { fill: var(--open); } .lost { fill: var(--lost); } .forgiven { fill: var(--forgiven); }
dl { margin: 0; display: grid; grid-template-columns: max-content 1fr; gap: .5rem 1rem; align-items: center; }
dd { margin: 0; display: grid; grid-template-columns: 1fr 4.2rem; gap: .7rem; align-items: center; }
dd svg { height: 1.5rem; border-radius: 5px; background: color-mix(in srgb, var(--line) 45%, transparent); }
dd b { font-weight: 500; text-align: right; font-variant-numeric: tabular-nums; }
.legend { display: flex; gap: 1.1rem; color: var(--soft); font-size: .85rem; margin: .7rem 0 0; flex-wrap: wrap; }
.legend i { display: inline-block; width: .7em; height: .7em; border-radius: 3px; margin-right: .4em; }
/* Wider than a phone: it opens at its end, where the newest day is. */
.scroll { overflow-x: auto; direction: rtl; } .scroll > svg { direction: ltr; min-width: 50rem; }
.scroll:focus-visible { outline: 3px solid var(--mailed); outline-offset: 3px; }
.sums { display: grid; gap: 1.25rem 2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .35rem 0; border-top: 1px solid var(--line); } td { text-align: right; }
th { text-align: left; font-weight: 400; color: var(--soft); padding-right: 1rem; } .main > * { font-weight: 600; color: var(--ink); }
@media (max-width: 40rem) { body { padding: 1.5rem .75rem 3rem; } main { gap: .75rem; } section { padding: 1rem; }
  .half { grid-column: 1 / -1; } .figure b { font-size: 1.5rem; } .figure.money b { font-size: 2rem; } }
@media (max-width: 26rem) { th, td { font-size: .875rem; padding-right: .5rem; } td { padding-right: 0; } .figure { grid-column: span 3; } .figure:nth-of-type(4) { grid-column: 1 / -1; } }
"""


def page(found: Stats) -> str:
    """The whole page of what `notifier.stats` answers."""
    failed, recovered = found.failed, found.recovered
    share = f"{100 * recovered / failed:.0f} %" if failed else "–"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer"><title>Failed payments and what became of them</title>',
        f"<style>{STYLE}</style></head><body><main>",
        "<header><h1>Failed payments and what became of them</h1>",
        f"<p>{f'{found.since:%Y-%m-%d}'} to {f'{found.until:%Y-%m-%d}'}, UTC. Each autopay invoice counts once.</p></header>",
        _figure_of_money(found.currencies),
        _figure(share, f"of invoices recovered: {recovered:,}"),
        _figure(duration(found.median_seconds_to_recover), "median time to recover"),
        _figure(f"{failed:,}", "invoices failed"),
        f"<section><h2>Money</h2>{_money(found.currencies)}</section>",
        f"<section><h2>From failure to payment</h2>{_funnel(found)}</section>",
        f"<section><h2>By day of the first failure</h2>{_days(found.days)}</section>",
        f'<section class="half"><h2>Time to recover</h2>{_times(found.times_to_recover)}</section>',
        f'<section class="half"><h2>Where they stand</h2>{_ends(found)}</section>',
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _figure(value: str, words: str) -> str:
    return f'<section class="figure"><b>{escape(value)}</b><span>{escape(words)}</span></section>'


def _figure_of_money(currencies: list[CurrencyStats]) -> str:
    """What came in, currency by currency: amounts of two don't add up."""
    came_in = [row for row in currencies if row.recovered_amount]
    amounts = [money(row.recovered_amount, row.currency) for row in came_in] or ["–"]
    shown = "".join(f"<b>{escape(amount)}</b>" for amount in amounts)
    return f'<section class="figure money">{shown}<span>recovered</span></section>'


def _svg(height: int, body: str, words: str) -> str:
    return f'<svg viewBox="0 0 800 {height}" role="img" aria-label="{escape(words, quote=True)}">{body}</svg>'


def _bars(rows: list[tuple[str, int, str]], most: int) -> str:
    """Horizontal bars with their name before and their number behind. Only the bar is drawn: texts keep their size."""
    body = []
    for name, value, style in rows:
        width = max(100 * value / most, 0.4 if value else 0) if most else 0
        body.append(
            f'<dt>{escape(name)}</dt><dd><svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="{style}" width="{width:.2f}" height="10"/></svg><b>{value:,}</b></dd>'
        )
    return f"<dl>{''.join(body)}</dl>"


def _funnel(found: Stats) -> str:
    rows = [(name, getattr(found, name), name) for name in FUNNEL]
    return _bars(rows, found.failed)


def _ends(found: Stats) -> str:
    rows = [(name, getattr(found, name), name) for name in ENDS]
    most = max(value for _, value, _ in rows)
    return _bars(rows, most)


def _times(times: list[RecoveryTime]) -> str:
    rows = [(one.within, one.count, "recovered") for one in times]
    most = max(value for _, value, _ in rows)
    return _bars(rows, most)


def nice_step(most: int) -> int:
    """A round distance between grid lines, so that there are about four."""
    if most <= 4:
        return 1
    size = 10 ** math.floor(math.log10(most / 4))
    return int(next(step * size for step in (1, 2, 5, 10) if step * size * 4 >= most))


def _days(days: list[DayStats]) -> str:
    """A column a day (or a few days, where there are many): recovered at the bottom, then forgiven, open, lost."""
    together = max(1, math.ceil(len(days) / 62))
    groups = [days[start : start + together] for start in range(0, len(days), together)]
    sums = [{name: sum(getattr(day, name) for day in group) for name in ENDS} for group in groups]
    most = max((sum(each.values()) for each in sums), default=0)
    step = nice_step(most)
    top = max(step * math.ceil(most / step), step)
    height, right = 220, 754
    width = right / max(len(groups), 1)
    body = []
    for value in range(0, top + 1, step):
        y = 10 + height * (1 - value / top)
        body.append(
            f'<line class="axis" x1="0" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="dim" x="{right + 8}" y="{y + 4:.1f}">{value:,}</text>'
        )
    every = max(1, math.ceil(len(groups) / 8))
    for number, (group, each) in enumerate(zip(groups, sums, strict=True)):
        x, y = number * width, 10.0 + height
        told = ", ".join(f"{name} {each[name]}" for name in ENDS)
        columns = []
        for name in ENDS:
            tall = height * each[name] / top
            y -= tall
            if tall:
                columns.append(
                    f'<rect class="{name}" x="{x + width * 0.12:.1f}" y="{y:.1f}" width="{width * 0.76:.1f}" height="{tall:.1f}" rx="1.5"/>'
                )
        body.append(f"<g><title>{escape(group[0].day)}: {told}</title>{''.join(columns)}</g>")
        if (len(groups) - 1 - number) % every == 0:  # the newest always
            body.append(
                f'<text class="dim" x="{x + width / 2:.1f}" y="{height + 32}" text-anchor="middle">{escape(group[0].day[5:])}</text>'
            )
    legend = "".join(
        f'<span><i style="background: var(--{name})"></i>{name}</span>' for name in ENDS
    )
    drawn = _svg(height + 42, "".join(body), "Failed invoices by day")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="By day, newest last">{drawn}</div>'
        f'<div class="legend">{legend}</div>'
    )


def _money(currencies: list[CurrencyStats]) -> str:
    """A table a currency, which is whole on the smallest phone."""
    tables = []
    for row in currencies:
        lines = "".join(
            f'<tr{" class=main" if name == "recovered" else ""}><th scope="row">{name}</th>'
            f"<td>{escape(money(getattr(row, f'{name}_amount'), row.currency))}</td></tr>"
            for name in AMOUNTS
        )
        caption = escape(row.currency.upper())
        tables.append(f"<table><caption>{caption}</caption><tbody>{lines}</tbody></table>")
    return f'<div class="sums">{"".join(tables)}</div>' if tables else "<p>None.</p>"
