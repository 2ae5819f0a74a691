"""`reward-model traffic`: monitor, ab and pairs of a policy's log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reward_model.cli.options import JsonOption
from reward_model.records.program import Commands, PageLanguageOption, check_page

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="What people did with a policy's answers: monitor, A/B tests, preference pairs.",
)

Logs = Annotated[
    list[Path],
    typer.Argument(metavar="LOG...", help="JSON Lines, a row an answer; .gz and folders too."),
]
HtmlOption = Annotated[Path | None, typer.Option("--html", help="Write a page.")]


@app.command()
def monitor(
    logs: Logs,
    config: Annotated[Path | None, typer.Option(help="TOML file: metrics and limits.")] = None,
    baseline: Annotated[
        list[Path] | None, typer.Option(help="Log that drop and rise are against; repeatable.")
    ] = None,
    json: JsonOption = None,
    html: HtmlOption = None,
    page_language: PageLanguageOption = "en",
) -> None:
    """Measure a log against limits; exits 1 where a whole interval is beyond one."""
    from reward_model.records import check_outputs
    from reward_model.records.terminal import console
    from reward_model.traffic import words
    from reward_model.traffic.monitor import monitor as measure
    from reward_model.traffic.settings import read_monitor

    check_page(page_language, html)
    check_outputs({"--json": json, "--html": html}, [*logs, config, *(baseline or [])])
    result = measure(logs, read_monitor(config) if config else None, baseline or [])
    screen = console()
    for one in result["metrics"]:
        if one["status"] in ("alert", "watch"):
            style = "red" if one["status"] == "alert" else None
            screen.print(f"{one['status']}: {words.beyond(one)}", style=style, markup=False)
    table = _table("metric", "now [95%]", "answers", "users", "status")
    for one in result["metrics"]:
        table.add_row(
            one["name"],
            words.between(one, one["is"]),
            f"{one['rows']:,}",
            f"{one['users']:,}",
            words.STATUS[one["status"]],
        )
    screen.print(table)
    _tell_notes(screen, result)
    if html:
        from reward_model.traffic.page import monitor_page

        _write_page(html, monitor_page(result, page_language))
    _write(result, json)
    raise typer.Exit(1 if result["status"] == "alert" else 0)


@app.command()
def ab(
    logs: Logs,
    experiment: Annotated[Path, typer.Option(help="TOML file: arms, time, outcomes.")],
    plan: Annotated[
        bool, typer.Option("--plan", help="Users needed, from a log before the test.")
    ] = False,
    json: JsonOption = None,
    html: HtmlOption = None,
    page_language: PageLanguageOption = "en",
) -> None:
    """Compare the arms of an experiment; exits 1 where split or guardrail broke."""
    from reward_model.records import UserError, check_outputs
    from reward_model.records.terminal import console, table
    from reward_model.traffic import words
    from reward_model.traffic.ab import ab as compare
    from reward_model.traffic.ab import plan as users_needed
    from reward_model.traffic.settings import read_experiment

    check_page(page_language, html)
    if plan and html is not None:
        raise UserError("--html with --plan", expected="a page of a test that ran")
    check_outputs({"--json": json, "--html": html}, [*logs, experiment])
    settings = read_experiment(experiment)
    screen = console()
    if plan:
        _tell_plan(screen, found := users_needed(logs, settings))
        _write(found, json)
        return
    result = compare(logs, settings)
    for _, tone, sentence in words.verdicts(result):
        screen.print(sentence, style="red" if tone == "bad" else None, markup=False)
    users = ", ".join(f"{name} {count:,}" for name, count in result["users"].items())
    split = words.chance(result["split"]["p"], 3)
    screen.print(f"users: {users} (p of the split {split})", markup=False)
    silent = result["split"]["broken"] or not result["done"]
    rows = []
    for row in (*result["primary"], *result["secondary"], *result["guardrails"]):
        told = "" if silent and row["verdict"] != "harmed" else row["verdict"]
        apart = words.between(row["difference"], row["is"]) if row["difference"] else "–"
        sides = [words.number(row[side]["value"], row["is"]) for side in ("control", "treatment")]
        rows.append([row["outcome"], row["arm"], *sides, apart, told])
    heads = ["outcome", "arm", result["control"], "this arm", "difference [95%]", "verdict"]
    known = any(row[-1] for row in rows)
    shown = _table(*heads) if known else table(None, *heads[:-1])
    for row in rows:
        shown.add_row(*(row if known else row[:-1]))
    screen.print(shown)
    _tell_notes(screen, result)
    if html:
        from reward_model.traffic.page import ab_page

        _write_page(html, ab_page(result, page_language))
    _write(result, json)
    bad = {"split broken", "guardrail harmed"} & set(result["verdict"].values())
    raise typer.Exit(1 if bad else 0)


@app.command()
def pairs(
    logs: Logs,
    out: Annotated[Path, typer.Option(help="JSON Lines file to write.")],
    form: Annotated[str, typer.Option("--format", help="pairs, kto or completions.")] = "pairs",
    per_user: Annotated[int, typer.Option(min=1, help="Most rows that rest on one user.")] = 3,
    arm: Annotated[
        list[str] | None, typer.Option(help="Only rows of this arm; repeatable.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Make preference data of thumbs and regenerated answers; exits 1 where nothing is left."""
    from reward_model.records import (
        check_named,
        check_outputs,
        check_replaceable,
        write_json,
        write_jsonl,
    )
    from reward_model.records.terminal import console
    from reward_model.traffic.pairs import pairs as make
    from reward_model.traffic.words import notes

    beside = f"{out}.config.json"
    check_outputs({"--json": json, "--out": out, "--out with .config.json": beside}, logs)
    check_named(out)
    check_replaceable(out, "per_user")
    made = make(logs, form, per_user=per_user, arms=arm or [])  # type: ignore[arg-type]
    screen = console()
    if made.rows:
        write_jsonl(out, made.rows)
        kept = {"form": form, "per_user": per_user, "arms": arm or []}
        write_json(beside, {"schema": "traffic.pairs/1", "logs": list(map(str, logs)), **kept})
        screen.print(f"{len(made.rows):,} row{'s' * (len(made.rows) != 1)} in {out}", markup=False)
    else:
        screen.print("nothing is left: no file was written", style="red", markup=False)
    left = {words: count for words, count in made.counts.items() if words != "rows made"}
    if left:
        screen.print("; ".join(notes(left)), markup=False)
    _write({"schema": "traffic.pairs/1", "format": form, "counts": made.counts}, json)
    raise typer.Exit(0 if made.rows else 1)


def _tell_plan(screen: Any, found: dict[str, Any]) -> None:
    from reward_model.traffic import words

    users = ", ".join(f"{count:,} in {name}" for name, count in found["users"].items())
    change = words.number(found["detect"], found["is"])
    screen.print(
        f"{found['outcome']} is {words.between(found['now'], found['is'])}; to see a change of "
        f"{change} with a power of {found['power']:.0%} it takes {users}.",
        markup=False,
    )
    if found["log_days"]:
        seen = f"{found['log_users']:,} users in {found['log_days']:g} days"
        screen.print(f"This log saw {seen}.", markup=False)


def _tell_notes(screen: Any, result: dict[str, Any]) -> None:
    from reward_model.traffic.words import notes

    if result["notes"]:
        first = result["first_unreadable"]
        ends = f" (first: {first})" if first else ""
        told = "; ".join(notes(result["notes"]))
        screen.print(f"left out or odd: {told}{ends}", markup=False)


def _table(*columns: str) -> Any:
    from rich.table import Column

    from reward_model.records.terminal import table

    *figures, last = columns
    return table(None, *figures, Column(last))


def _write(result: dict[str, Any], json_to: str | None) -> None:
    from reward_model.records import write_result

    write_result(result, json_to)


def _write_page(path: Path, page: str) -> None:
    from reward_model.records import write_text

    write_text(path, page)
