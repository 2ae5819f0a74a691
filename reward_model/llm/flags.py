"""Flags of models and their calls, as typer reads them; `datagen` and `judge` share them."""

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
BaseUrl = Annotated[str | None, typer.Option(help="Address of an OpenAI-compatible server.")]
Prices = Annotated[str | None, typer.Option(help="Price table over the one that ships, TOML.")]
Batch = Annotated[
    bool,
    typer.Option(
        "--batch", help="Through the provider's Batch API: half the price, a day a round."
    ),
]
Wait = Annotated[
    bool,
    typer.Option("--wait", help="With --batch: wait for the batches, instead of exit code 3."),
]
