"""Flags of the settings in `options.py`, as typer reads them; `datagen` and `judge` share them."""

from __future__ import annotations

from typing import Annotated

import typer

Header = Annotated[
    list[str] | None,
    typer.Option(help="Header of every call, 'Name: value'; secrets as 'Name: $VARIABLE'."),
]
Body = Annotated[
    str | None, typer.Option(help="Further fields of every call's body, JSON: '{\"top_k\": 20}'.")
]
Thinking = Annotated[
    str | None,
    typer.Option(help="on, off. [default: off where a model has the switch, else as it is]"),
]
Effort = Annotated[str | None, typer.Option(help="How long to think: low, medium, high.")]
