"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
TableAsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]
OnlyJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask.")]
Business = Annotated[str, typer.Option("--business", metavar="ID", help="Your id of the business.")]
OneBusiness = Annotated[
    str | None,
    typer.Option("--business", metavar="ID", help="Of this business alone: your id of it."),
]
BusinessOfId = Annotated[
    str | None,
    typer.Option("--business", metavar="ID", help="For your own id, where there are several."),
]
