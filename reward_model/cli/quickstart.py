"""The whole flow on the embedded writer and judge, as the commands a user would run.

Each step is printed before it runs in a process of its own, so what is shown here is all there is
to learn. Killed at any moment, the same command goes on; a step whose files are as it left them
is not run again, so a finished folder repeats nothing.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from reward_model import __version__
from reward_model.records import Stopped, UserError, read_jsonl, read_object, write_json
from reward_model.records.terminal import console, let_interrupts, table

if TYPE_CHECKING:
    from rich.table import Table


LANGUAGES = ("zh", "en")
EVERY_ENCODER_READS = 512
"""Tokens that any pretrained base model has positions for, and that a CPU trains on in minutes."""

SEEN = "2,3,4"
"""Severities that the embedded judge tells from the good side: of the mildest it misses most."""

PAIRS = 0.2
"""Weight of the pairwise term: the levels do not suffer from it, and where a mean is pooled pairs
are ordered better (docs/train.md, "What little data gives")."""


SMOOTHING = 0.05
"""Of the target for other levels: after 16 passes over few texts, chances are 0 and 1 without it,
which orders texts worse (docs/train.md, "What little data gives")."""


COPIES = 0.2
"""Counterexamples for each training text: words in no order are worth nothing, which no report of
the writer says (docs/train.md, "Counterexamples")."""
TESTED = 0.25
"""Share of the texts that is held out to measure on: enough to tell a model from its baselines."""


@dataclass(frozen=True)
class QuickstartOptions:
    """What changes a quickstart."""

    fields: str | None = None
    """With commas; None for all."""
    pairs: int = 700
    language: str = "zh"
    seed: int = 0
    base_model: str = "tiny"
    max_length: int | None = None
    """Tokens of a text; None for 512, or for all that the tiny model reads."""


def quickstart(
    fields: Annotated[str | None, typer.Option(help="Fields, separated by commas.")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs to generate.")] = 700,
    language: Annotated[str, typer.Option(help="zh or en.")] = "zh",
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything.")] = 0,
    base_model: Annotated[str, typer.Option(help="Folder, hub id or 'tiny'.")] = "tiny",
    max_length: Annotated[
        int | None, typer.Option(help="Tokens of a text. [default: 512, or all that tiny reads]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("outputs/quickstart"),
) -> None:
    """Run the whole flow on the embedded writer and judge: no key, no network."""
    run(QuickstartOptions(fields, pairs, language, seed, base_model, max_length), out)


def run(options: QuickstartOptions, out: Path) -> None:
    """Generate, judge, validate, train, evaluate and score; end with a table and the paths.

    Raises:
        UserError: an option is wrong, or `out` was made with other options.
        Stopped: a step stopped early with its work saved.
    """
    if options.language not in LANGUAGES:
        raise UserError(f"language {options.language!r}", expected="one of " + ", ".join(LANGUAGES))
    known = out / "quickstart.json"
    kept = asdict(options)
    done = _look(known, kept)
    write_json(known, {**kept, "done": done})
    started = time.monotonic()
    steps = _steps(options, out)
    for number, step in enumerate(steps, 1):
        screen, command = console(), shlex.join(step.command)
        screen.rule(f"[bold]{number}/{len(steps)}  {step.title}", align="left")
        screen.print(f"[cyan]$ {command}", soft_wrap=True)
        if (left := _left(step)) is not None and done.get(command) == left:
            screen.print("finished before, and its files are as it left them")
            continue
        _run(step.command)
        done[command] = _left(step)
        write_json(known, {**kept, "done": done})
    _show(out, options.language, time.monotonic() - started)


class Step(NamedTuple):
    """A command, with the files that it is a function of and those that come of it."""

    title: str
    command: list[str]
    reads: tuple[Path, ...]
    writes: tuple[Path, ...]


def _left(step: Step) -> dict[str, Any] | None:
    """Size and time of every file of a step, and the version it ran in; None where one is gone."""
    found: dict[str, Any] = {"version": __version__}
    for path in (*step.reads, *step.writes):
        try:
            there = path.stat()
        except OSError:
            return None
        found[str(path)] = [there.st_size, there.st_mtime_ns]
    return found


def _look(known: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Command -> what it left, of the steps that are finished.

    Raises:
        UserError: the folder was made with other options.
    """
    before = (read_object(known) or {}) if known.exists() else options
    changed = [name for name, value in options.items() if before.get(name) != value]
    if changed:
        told = ", ".join(f"{name} {before.get(name)!r}" for name in changed)
        raise UserError(
            f"results of other options ({told})",
            expected="a new folder, or the same options to go on",
            mend=f"pass --out with another folder, or remove {known.parent}",
            path=known.parent,
        )
    done = before.get("done")
    return done if isinstance(done, dict) else {}


def _steps(options: QuickstartOptions, out: Path) -> list[Step]:
    made, scored, kept = (out / f"{name}.jsonl" for name in ("pairs", "scored", "kept"))
    fresh, fresh_scored = out / "fresh_pairs.jsonl", out / "fresh_scored.jsonl"
    model, best, seed = out / "model", out / "model" / "best", options.seed
    trained, heads = best / "model.safetensors", best / "config.json"
    weights = (heads, trained)
    validation, evaluation = (
        (out / f"{name}.json", out / f"{name}.html") for name in ("validation", "evaluation")
    )
    where = {"language": options.language}
    if options.fields:
        where["fields"] = options.fields
    length = options.max_length
    if length is None and options.base_model != "tiny":
        length = EVERY_ENCODER_READS
    return [
        Step(
            "Write golden reports and controlled degradations of them",
            [
                *("datagen", "pairs", *_flags(out=made, pairs=options.pairs, seed=seed)),
                *_flags(severities=SEEN, **where),
            ],
            (),
            (made,),
        ),
        Step(
            "Score every report blind on depth, professionalism and accuracy",
            ["judge", "score", str(made), *_flags(out=scored, seed=seed)],
            (made,),
            (scored,),
        ),
        Step(
            "Keep the pairs whose difference the judge saw; look for leaks and biases",
            [
                *("judge", "validate", str(scored), str(kept), *_flags(min_gap=0.5)),
                "--require-target",
                *_flags(json=validation[0], html=validation[1]),
            ],
            (scored,),
            (kept, *validation),
        ),
        Step(
            "Train one classifier head a dimension on chosen and rejected",
            [
                *("reward-model", "train", str(kept)),
                *_flags(base_model=options.base_model, output_dir=model),
                *(_flags(max_length=length) if length else []),
                *_flags(evidence="checks", pair_weight=PAIRS, label_smoothing=SMOOTHING),
                *_flags(counterexamples=COPIES, test_share=TESTED, seed=seed),
                "--resume",
            ],
            (kept,),
            (model / "metrics.json", trained),
        ),
        Step(
            "Fit how sure it is, on companies that training did not learn from",
            ["reward-model", "calibrate", str(best), str(kept)],
            (kept, trained),
            (heads,),
        ),
        Step(
            "Measure it on companies it has never seen, beside simple baselines",
            [
                *("reward-model", "evaluate", str(best), str(kept)),
                *_flags(json=evaluation[0], html=evaluation[1]),
            ],
            (kept, *weights),
            evaluation,
        ),
        Step(
            "Write two fresh reports on a company made up for the occasion",
            [
                *("datagen", "pairs", "--no-real"),
                *_flags(out=fresh, pairs=1, seed=seed + 1, neutral_share=0),
                *_flags(degradations="vague_precision", severities=3, **where),
            ],
            (),
            (fresh,),
        ),
        Step(
            "Score both",
            [
                *("reward-model", "score", str(best), str(fresh)),
                *_flags(out=fresh_scored),
            ],
            (fresh, *weights),
            (fresh_scored,),
        ),
    ]


def _flags(**values: object) -> list[str]:
    """`--name value` for each.

    >>> _flags(output_dir="m", seed=0)
    ['--output-dir', 'm', '--seed', '0']
    """
    return [
        word
        for name, value in values.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]


def _run(command: list[str]) -> None:
    module = command[0].replace("-", "_")
    # Python that is hit while it starts says so in a traceback: Ctrl-C waits for `terminal.run`.
    let_interrupts(wait=True)
    child = subprocess.Popen([sys.executable, "-m", module, *command[1:]])
    try:
        let_interrupts(wait=False)
        code = child.wait()
    except KeyboardInterrupt:
        # The terminal sent Ctrl-C to the child too, but a plain kill reaches only this process.
        child.terminate()
        child.wait()
        raise
    if code == 3:
        raise Stopped("run the same command to go on")
    # A validator that found problems has done its work, and its findings are on the page. A few
    # pairs leave too few texts to fit a temperature on; the model stays as it was.
    harmless = {("judge", "validate"): 1, ("reward-model", "calibrate"): 2}
    if code not in (0, harmless.get((command[0], command[1]))):
        raise UserError(f"the step above ended with exit code {code}", mend="see its message")


def _show(out: Path, language: str, seconds: float) -> None:
    from rich.table import Table

    from reward_model.cli.evaluate import first_table, tell
    from reward_model.stats.evaluated import EvaluationReport

    screen = console()
    row = next(iter(read_jsonl(out / "fresh_scored.jsonl"))).value
    evaluation = EvaluationReport.model_validate_json((out / "evaluation.json").read_bytes())
    screen.rule("[bold]What came out", align="left")
    tell(evaluation)
    screen.print(_reports(row, language))
    split = evaluation.split
    title = f"Held out: {split.pairs} pairs of {split.groups} companies never seen"
    screen.print(first_table(evaluation, title))
    files = Table.grid(padding=(0, 2))
    for name, what in (
        ("pairs.jsonl", "golden and degraded reports"),
        ("scored.jsonl", "the same with levels and reasons"),
        ("kept.jsonl", "what training reads: pairs whose difference the judge saw"),
        ("validation.html", "score gaps, leaks, problem pairs, every pair side by side"),
        ("model/best", "the model: RewardScorer.from_pretrained(...)"),
        ("evaluation.html", "held-out metrics with plots and the worst mistakes"),
        ("fresh_scored.jsonl", "the two fresh reports and their scores"),
    ):
        files.add_row(str(out / name), what)
    screen.print(files)
    screen.print(f"done in {seconds:.0f} s", markup=False)


def _reports(row: dict[str, Any], language: str) -> Table:
    """The two fresh reports: level, distribution over levels and reward."""
    from rich.table import Column

    from reward_model.cli.score import bars
    from reward_model.rubrics import load_rubric, say

    rubric = load_rubric("financial_report")
    chances = Column(f"P(0–{rubric.scale})")
    told = table("Two fresh reports", "", "good", chances, "flawed", chances.copy())
    scores = [row["reward_model"][side] for side in ("chosen", "rejected")]
    for name in rubric.names:
        cells: list[str] = [say(rubric.dimension(name).title, language)]
        for score in scores:
            cells += [f"{score['levels'][name]:.2f}", bars(score["probabilities"][name])]
        told.add_row(*cells)
    cells = ["reward (0–1)"]
    for score in scores:
        cells += [f"[bold]{score['reward']:.3f}", ""]
    told.add_row(*cells)
    return told
