"""Options that several `judge` commands share, as typer reads them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Judges = Annotated[
    list[str] | None,
    typer.Option(
        "--llm",
        help="Judge: offline, openai:MODEL or dashscope:MODEL. Several make a panel. "
        "[default: offline]",
    ),
]
RubricName = Annotated[str, typer.Option(help="Rubric that ships, by name, or a TOML file.")]
Samples = Annotated[int, typer.Option(help="Draws a level; the level is their mean.")]
Evidence = Annotated[
    str, typer.Option(help="checks: show the judge which figures agree with the tables.")
]
Temperature = Annotated[float, typer.Option(help="Of the judge.")]
MaxPromptChars = Annotated[
    int, typer.Option(help="Show at most this much of a prompt; 0 shows it whole.")
]
LedgerFile = Annotated[
    str | None,
    typer.Option(help="File of all calls. [default: beside the input; none for offline]"),
]
Concurrency = Annotated[int, typer.Option(help="Calls under way at once, at most.")]
Budget = Annotated[
    float | None, typer.Option(help="US dollars in all, earlier runs with this ledger included.")
]
Config = Annotated[
    Path | None, typer.Option(help="TOML file with any option of judge score; flags win.")
]
Json = Annotated[
    Path | None, typer.Option("--json", help="Also write the numbers here; - for stdout.")
]


class Side(StrEnum):
    """Side of a pair."""

    chosen = "chosen"
    rejected = "rejected"


class Shown(StrEnum):
    """What a judge is calibrated with."""

    none = "none"
    checks = "checks"
    both = "both"


class Form(StrEnum):
    """Form of a review."""

    csv = "csv"
    argilla = "argilla"
