"""Flags that several commands share: one name, one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DeviceOption = Annotated[str | None, typer.Option("--device", help="cuda, mps or cpu.")]
BatchTokensOption = Annotated[
    int | None,
    typer.Option("--batch-tokens", min=1, help="Most tokens of a batch, padding included."),
]
JsonOption = Annotated[
    str | None, typer.Option("--json", help="Write the result as JSON to a file, or - for stdout.")
]
WeightOption = Annotated[
    list[str] | None,
    typer.Option("--weight", help="DIMENSION=NUMBER instead of the rubric's weights; repeatable."),
]
RiskOption = Annotated[
    float,
    typer.Option("--risk", help="Lambda of the reward's mean - lambda x sd; 0 is the mean."),
]
AbstainOption = Annotated[
    float | None,
    typer.Option(
        "--abstain",
        help="No opinion on texts less familiar than this, such as 0.01: of texts like those it "
        "was validated on, so large a share.",
    ),
]
CenteredOption = Annotated[
    bool,
    typer.Option(
        "--centered",
        help="Rewards less the mean of reference texts, over their standard deviation, as "
        "calibrate --rewards stored them.",
    ),
]


def find_model(named: Path | None) -> Path | None:
    """A model that is named, in a folder; nothing is fetched to complete a command."""
    if named is None or named.exists():
        return named
    from reward_model.records.hub import model_folder

    return model_folder(named)


def find_models(named: list[Path] | None) -> list[Path] | None:
    """The same of several."""
    return None if named is None else [found for one in named if (found := find_model(one))]


ModelArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder of a trained model, or owner/name[@revision] on a hub.",
        callback=find_model,
    ),
]
OthersOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--with",
        help="A further model of the same rubric: an ensemble; repeatable.",
        callback=find_models,
    ),
]
HowOption = Annotated[
    str, typer.Option("--how", help="Of an ensemble: mean of the members, or minimum.")
]
Scored = Annotated[
    Path,
    typer.Argument(
        help="Scored pairs or single responses: JSON Lines, Parquet, CSV, a folder of these, or "
        "the id of a data set of the hub."
    ),
]
RubricOption = Annotated[
    str | None,
    typer.Option("--rubric", help="Name of a shipped rubric or path of a TOML file."),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="Columns of texts and levels: prompt=question,response=answer, or a TOML file.",
    ),
]
ResamplesOption = Annotated[
    int, typer.Option("--resamples", min=100, help="Bootstrap draws by group.")
]
