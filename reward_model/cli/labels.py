"""`reward-model labels`: how often each level was given, by dimension and side."""

from __future__ import annotations

from reward_model.cli.options import ColumnsOption, JsonOption, RubricOption, Scored
from reward_model.records import check_outputs, write_result
from reward_model.records.terminal import console, table


def labels(
    scored: Scored,
    rubric: RubricOption = None,
    columns: ColumnsOption = None,
    json: JsonOption = None,
) -> None:
    """Show how the labels of SCORED are distributed, by dimension and side."""
    from rich.table import Column

    from reward_model.data.labels import count_labels

    check_outputs({"--json": json}, (scored, columns, rubric))
    result, known = count_labels(scored, rubric=rubric, columns=columns)
    screen = console()
    title = f"{result['texts']} texts in {result['groups']} groups, {result['rubric']}"
    levels = map(str, range(known.classes))
    counts = table(title, "dimension", Column("side", no_wrap=True), *levels, "missing")
    for name in known.names:
        for i, (side, found) in enumerate(result["labels"][name].items()):
            counts.add_row(name if i == 0 else "", side, *map(str, found.values()))
    screen.print(counts)
    if result["records_without_scores"]:
        words = f"{result['records_without_scores']} records carry no score and were left out"
        screen.print(words)
    for words in result["warnings"]:
        screen.print(f"warning: {words}", style="yellow", markup=False)
    write_result(result, json)
