"""What usually goes wrong with a file of scored records; see `reward_model.doctor`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from reward_model.data import (
    IGNORE,
    Sample,
    find_rubric,
    get_label_distribution,
    pair_indices,
    read_samples,
)
from reward_model.doctor import Finding
from reward_model.labels import label_warnings
from reward_model.records import as_text
from reward_model.rubric import Rubric

LONGER = 0.75
"""Share of pairs with the longer side chosen from which on length alone orders most pairs."""
CUT = 0.05
"""Share of responses that may lose their middle before it is a problem."""


def look_at_file(path: Path, *, rubric: str | None, model: Path | None) -> list[Finding]:
    """Every check of a file of scored pairs or single responses.

    Raises:
        UserError: the file is not one, naming the line; or the model does not load.
    """
    known = _rubric(path, rubric, model)
    samples, bare = read_samples(path, known)
    pairs = pair_indices(samples)
    findings = [
        Finding("ok", "format", f"{len(samples)} texts, {len(pairs)} pairs, rubric {known.id}")
    ]
    if bare:
        mend = "score them with `judge score`, or leave them: training does not use them"
        findings.append(Finding("note", "scores", f"{bare} records carry none", mend))
    findings += _labels(samples, known)
    findings += [*_groups(samples), *_repeats(samples), *_sides(samples, pairs)]
    if model is not None:
        findings += _truncation(samples, pairs, model)
    return findings


def _rubric(path: Path, rubric: str | None, model: Path | None) -> Rubric:
    if rubric is None and model is not None:
        from reward_model.bundle import read_rubric

        return read_rubric(model)
    return find_rubric(path, rubric)


def _labels(samples: Sequence[Sample], rubric: Rubric) -> list[Finding]:
    words = label_warnings(get_label_distribution(samples, rubric), rubric)
    if not words:
        return [Finding("ok", "labels", "every level occurs in every dimension")]
    mend = "add pairs whose texts deserve other levels: other severities, other degradations"
    return [Finding("problem", "labels", sentence, mend) for sentence in words]


def _groups(samples: Sequence[Sample]) -> list[Finding]:
    count = len({sample.group for sample in samples})
    if count == 1:
        return [
            Finding(
                "problem",
                "groups",
                "one prompt or company only: nothing can be held out",
                "add pairs of other companies, and name them in metadata.prompt_id",
            )
        ]
    if count < 20:
        mend = "numbers on so few are rough; add companies before adding pairs a company"
        return [Finding("note", "groups", f"only {count} prompts or companies", mend)]
    return [Finding("ok", "groups", f"{count} prompts or companies")]


def _repeats(samples: Sequence[Sample]) -> list[Finding]:
    labels: dict[tuple[str, str], set[tuple[int, ...]]] = defaultdict(set)
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    count = 0
    for sample in samples:
        key = (as_text(sample.prompt), as_text(sample.response))
        count += key in labels
        labels[key].add(sample.labels)
        groups[key].add(sample.group)
    findings = []
    conflicts = sum(len(found) > 1 for found in labels.values())
    if conflicts:
        mend = "keep one scoring of each text, or score again with several samples"
        findings.append(
            Finding("problem", "labels", f"{conflicts} texts with conflicting labels", mend)
        )
    leaks = sum(len(found) > 1 for found in groups.values())
    if leaks:
        mend = "give what shares a text the same metadata.prompt_id, or held-out numbers leak"
        findings.append(Finding("problem", "groups", f"{leaks} texts in several groups", mend))
    if count and not conflicts:
        mend = "each counts as often as it stands there; remove them if that is not meant"
        findings.append(Finding("note", "repeats", f"{count} repeated texts", mend))
    return findings


def _sides(samples: Sequence[Sample], pairs: Sequence[tuple[int, int]]) -> list[Finding]:
    findings = []
    lengths = [len(as_text(sample.response)) for sample in samples]
    same = sum(as_text(samples[a].response) == as_text(samples[b].response) for a, b in pairs)
    if same:
        findings.append(
            Finding("problem", "pairs", f"{same} with the same text on both sides", "remove them")
        )
    empty = sum(not as_text(sample.response).strip() for sample in samples)
    if empty:
        findings.append(Finding("problem", "texts", f"{empty} are empty", "remove them"))
    different = [(a, b) for a, b in pairs if lengths[a] != lengths[b]]
    if different:
        share = sum(lengths[a] > lengths[b] for a, b in different) / len(different)
        if len(different) >= 8 and not 1 - LONGER < share < LONGER:
            side = "longer" if share > 0.5 else "shorter"
            often = max(share, 1 - share)
            findings.append(
                Finding(
                    "problem",
                    "length",
                    f"the {side} side is the chosen one in {often:.0%} of the pairs",
                    "a model can learn length instead of quality: add degradations that keep or "
                    "raise the length, and look at the length baseline of `evaluate`",
                )
            )
    unlike = sum(
        all(
            x == y or IGNORE in (x, y)
            for x, y in zip(samples[a].labels, samples[b].labels, strict=True)
        )
        for a, b in pairs
    )
    if unlike:
        mend = "they teach no order; `judge validate` filters them"
        findings.append(
            Finding(
                "note", "pairs", f"{unlike} of {len(pairs)} with equal levels on both sides", mend
            )
        )
    return findings


def _truncation(
    samples: Sequence[Sample], pairs: Sequence[tuple[int, int]], model: Path
) -> list[Finding]:
    from reward_model.bundle import load_bundle

    builder = load_bundle(model).builder
    encoded = [builder.one(sample.prompt, sample.response) for sample in samples]
    cut = sum(one.response_cut for one in encoded) / len(encoded)
    prompts = sum(one.prompt_cut for one in encoded) / len(encoded)
    findings = [
        Finding(
            "problem" if cut > CUT else "ok",
            "truncation",
            f"{cut:.0%} of the responses and {prompts:.0%} of the prompts lose their middle at "
            f"{builder.max_length} tokens",
            "train with a larger --max-length, on a base model that reads as much",
        )
    ]
    alike = sum(
        encoded[a].input_ids == encoded[b].input_ids
        and as_text(samples[a].response) != as_text(samples[b].response)
        for a, b in pairs
    )
    if alike:
        findings.append(
            Finding(
                "problem",
                "truncation",
                f"{alike} pairs whose two sides are the same to the model",
                "what tells them apart is cut off or unknown to its tokenizer",
            )
        )
    return findings
