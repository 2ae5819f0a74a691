"""`reward-model`: every command, in the order of its help; each stands in a file of its own name
(`report` beside `evaluate`).

A command imports torch, transformers and pydantic inside, so that `--help` and wrong flags stay
fast.
"""

from __future__ import annotations

from reward_model.cli.audit import audit
from reward_model.cli.bench import bench
from reward_model.cli.calibrate import calibrate
from reward_model.cli.doctor import doctor
from reward_model.cli.evaluate import evaluate, report
from reward_model.cli.export import export
from reward_model.cli.labels import labels
from reward_model.cli.policy import app as policy
from reward_model.cli.prefer import prefer
from reward_model.cli.quickstart import quickstart
from reward_model.cli.score import score
from reward_model.cli.serve import serve
from reward_model.cli.traffic import app as traffic
from reward_model.cli.train import train
from reward_model.records.program import program
from reward_model.records.terminal import run

app = program("Train, measure and use multi-dimensional reward models.")

for command in (
    labels,
    train,
    evaluate,
    audit,
    calibrate,
    score,
    serve,
    prefer,
    export,
    bench,
    doctor,
    report,
    quickstart,
):
    app.command()(command)
app.add_typer(policy, name="policy")
app.add_typer(traffic, name="traffic")


def main() -> None:
    """Entry point of the `reward-model` script."""
    run(app)
