"""`reward-model bench`: any rewards on any benchmarks, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reward_model.cli.options import DeviceOption, JsonOption
from reward_model.records.program import PageLanguageOption, check_page

RUBRIC, OUT = "helpsteer", Path("outputs/bench")


def bench(
    rewards: Annotated[
        list[str],
        typer.Argument(
            metavar="REWARD...",
            help="[NAME=]MODEL folder, scalar model (folder or hub id), openai:MODEL, "
            "dashscope:MODEL, offline, http://HOST:PORT, FILE.py:FUNCTION, or length.",
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            "--data", help="[NAME=]file, folder or hub id of a benchmark or pairs; repeatable."
        ),
    ],
    split: Annotated[str, typer.Option(help="Split of data sets that have several.")] = "",
    rubric: Annotated[str, typer.Option(help="What a judge grades.")] = RUBRIC,
    base_url: Annotated[
        str | None, typer.Option(help="Address of an OpenAI-compatible server, for judges.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the judges' ledgers.")] = OUT,
    json: JsonOption = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page.")] = None,
    page_language: PageLanguageOption = "en",
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap draws by prompt.")] = 1000,
    device: DeviceOption = None,
) -> None:
    """Measure rewards on benchmarks, each counted as its authors count, with intervals."""
    from dataclasses import replace

    from reward_model.bench import words
    from reward_model.bench.forms import read_benchmark
    from reward_model.bench.rewards import find_reward
    from reward_model.bench.run import bench as measure
    from reward_model.records import UserError, check_outputs, write_result, write_text
    from reward_model.records.terminal import console, table

    check_page(page_language, html)
    found = [
        find_reward(spec, rubric=rubric, out=out, base_url=base_url, device=device)
        for spec in rewards
    ]
    kinds = {reward.kind for reward in found}
    for flag, idle, of in (
        ("--base-url", base_url is not None and "judge" not in kinds, "a judge"),
        ("--rubric", rubric != RUBRIC and "judge" not in kinds, "a judge"),
        ("--out", out != OUT and "judge" not in kinds, "a judge, whose ledger it holds"),
        ("--device", device is not None and not kinds & {"model", "scalar"}, "a model"),
    ):
        if idle:
            raise UserError(f"{flag} without {of}", expected="it with such a reward")
    names = [reward.name for reward in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two rewards called {name!r}", mend="name one: NAME=REWARD")
    said = [one.rpartition("=")[2] for one in (*rewards, *data)]
    places = {Path(name) for one in said for name in (one, one.rpartition(":")[0]) if name}
    check_outputs({"--json": json, "--html": html}, [place for place in places if place.exists()])
    benchmarks = []
    for one in data:
        name, _, place = one.rpartition("=")
        read = read_benchmark(place, split=split)
        benchmarks.append(replace(read, name=name) if name else read)
    titles = [benchmark.name for benchmark in benchmarks]
    for title in titles:
        if titles.count(title) > 1:
            raise UserError(f"two data sets called {title!r}", mend="name one: NAME=PLACE")
    if any(reward.kind == "judge" for reward in found):
        out.mkdir(parents=True, exist_ok=True)
    screen = console()
    result = measure(
        found,
        benchmarks,
        resamples=resamples,
        seed=seed,
        tell=lambda said: screen.print(said, markup=False),
    )
    for sentence in words.verdicts(result):
        screen.print(sentence, style="bold", markup=False)
    shown = table("percent [95%]", "reward", *titles)
    for reward in found:
        scores = [b["rewards"][reward.name]["metrics"]["score"] for b in result["benchmarks"]]
        shown.add_row(reward.name, *map(words.figure, scores))
    screen.print(shown)
    for sentence in words.notes(result):
        screen.print(f"• {sentence}", markup=False)
    if html:
        from reward_model.bench.page import page

        write_text(html, page(result, page_language))
    write_result(result, json)
