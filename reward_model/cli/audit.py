"""What `reward-model audit` does with its flags: probe, show, write JSON and model card."""

from __future__ import annotations

from pathlib import Path

from reward_model.data.columns import read_columns
from reward_model.data.held_out import WANTED
from reward_model.records import UserError, check_outputs, write_result
from reward_model.records.terminal import console


def run_audit(
    model: Path,
    scored: Path,
    *,
    part: str,
    columns: Path | None,
    probes: list[str],
    sample: int | None,
    threshold: float | None,
    json_to: str | None,
    to_card: bool,
    seed: int,
    resamples: int,
    device: str | None,
    batch_tokens: int | None,
) -> int:
    """Probe and tell; 1 when a probe pleases the model, does not displease it as it should, or none
    reached a verdict.

    Raises:
        UserError: a flag is wrong, the model does not load, or a file is wrong.
    """
    if part not in WANTED:
        raise UserError(f"--split {part}", expected=f"one of {', '.join(WANTED)}")
    check_outputs({"--json": json_to}, (model, scored, columns))
    from reward_model.measure.probing.probes import choose_probes

    choose_probes(probes)  # a wrong name is said before anything slow happens
    from reward_model.measure.probing.run import SAMPLE, audit
    from reward_model.measure.probing.words import audit_table
    from reward_model.model.card import record
    from reward_model.model.card_text import say_passed

    found = audit(
        model,
        scored,
        part=part,
        columns=read_columns(columns) if columns else None,
        probes=probes,
        sample=SAMPLE if sample is None else sample,
        threshold=threshold,
        seed=seed,
        resamples=resamples,
        device=device,
        batch_tokens=batch_tokens,
    )
    screen = console()
    screen.print(audit_table(found.report))
    for sentence in found.report.notes:
        screen.print(f"• {sentence}", markup=False)
    for finding in found.report.findings:
        screen.print(f"problem: {finding.words}", style="red", markup=False)
    if not found.report.findings:
        words = "no probe is shown to move the model where it should not"
        screen.print(say_passed(found.report, words), markup=False)
    if to_card:
        record(model, "audit", {k: v for k, v in found.result.items() if k != "model"})
    write_result(found.result, json_to)
    return 1 if found.report.findings or found.report.nothing_decided else 0
