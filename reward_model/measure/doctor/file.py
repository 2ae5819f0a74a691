"""What usually goes wrong with a file of scored records; see `reward_model.measure.doctor.run`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from reward_model.data.columns import ColumnMap
from reward_model.data.dataset import Sample, Samples, get_label_distribution, pair_indices
from reward_model.data.labels import label_warnings
from reward_model.data.reading import find_rubric, read_samples
from reward_model.measure.doctor.findings import Finding, note, ok, problem
from reward_model.records import IGNORE, as_text, digest, read_jsonl
from reward_model.rubrics import Rubric

LONGER = 0.75
"""Share of pairs with the longer side chosen from which on length alone orders most pairs."""
CUT = 0.05
"""Share of responses that may lose their middle before it is a problem."""
BLIND = 0.5
"""Share of prompts without a readable table from which evidence is of no use."""


def look_at_file(
    path: Path, *, rubric: str | None, model: Path | None, columns: ColumnMap | None = None
) -> list[Finding]:
    """Every check of a file of scored pairs or single responses.

    Raises:
        UserError: the file is not one, naming the line; or the model does not load.
    """
    known = _rubric(path, rubric, model, columns)
    samples, bare = read_samples(path, known, columns=columns)
    pairs = pair_indices(samples)
    findings = [ok("format", f"{len(samples)} texts, {len(pairs)} pairs, rubric {known.id}")]
    if bare:
        findings.append(
            note(
                "scores",
                f"{bare} records carry none",
                "training does not use them",
                "score them with `judge score`, or leave them",
            )
        )
    findings += _labels(samples, known)
    findings += [*_groups(samples), *_repeats(samples), *_sides(samples, pairs)]
    if model is not None:
        findings += [*_judged_by(samples, known), *_read_by(samples, pairs, model)]
    return findings


def _rubric(
    path: Path, rubric: str | None, model: Path | None, columns: ColumnMap | None
) -> Rubric:
    if rubric is None and model is not None:
        from reward_model.model.folder import read_rubric

        return read_rubric(model)
    return find_rubric(path, rubric, columns=columns)


def _judged_by(samples: Samples, rubric: Rubric) -> list[Finding]:
    """Rubrics that the levels were given by, where the file names them, against the model's."""
    named = set()
    for line in read_jsonl(samples.columns.path):
        scores = line.value.get("scores")
        judge = scores.get("judge") if isinstance(scores, dict) else None
        if isinstance(judge, dict) and judge.get("rubric"):
            named.add(str(judge["rubric"]))
    others = sorted(named - {rubric.id})
    if not others:
        return [ok("rubric", rubric.id)] if named else []
    return [
        problem(
            "rubric",
            f"levels by {', '.join(others)}, a model of {rubric.id}",
            "the same level means one thing in the file and another to the model",
            "score the file again by the model's rubric, or train on it",
        )
    ]


def _labels(samples: Sequence[Sample], rubric: Rubric) -> list[Finding]:
    words = label_warnings(get_label_distribution(samples, rubric), rubric)
    if not words:
        return [ok("labels", "every level occurs in every dimension")]
    why = "a head learns the levels it is shown, about as often as it is shown them"
    mend = "add pairs whose texts deserve other levels: other severities, other degradations"
    return [problem("labels", sentence, why, mend) for sentence in words]


def _groups(samples: Sequence[Sample]) -> list[Finding]:
    count = len({sample.group for sample in samples})
    if count == 1:
        return [
            problem(
                "groups",
                "one prompt or company only",
                "nothing can be held out, so nothing can be measured",
                "add pairs of other companies, and name them in metadata.prompt_id",
            )
        ]
    if count < 20:
        return [
            note(
                "groups",
                f"only {count} prompts or companies",
                "numbers on so few are rough",
                "add companies before adding pairs a company",
            )
        ]
    return [ok("groups", f"{count} prompts or companies")]


def _repeats(samples: Sequence[Sample]) -> list[Finding]:
    labels: dict[str, set[tuple[int, ...]]] = defaultdict(set)
    groups: dict[str, set[str]] = defaultdict(set)
    count = 0
    for sample in samples:
        key = sample.text_digest
        count += key in labels
        labels[key].add(sample.labels)
        groups[key].add(sample.group)
    findings = []
    conflicts = sum(len(found) > 1 for found in labels.values())
    if conflicts:
        findings.append(
            problem(
                "labels",
                f"{conflicts} texts with conflicting labels",
                "the model is told two things of one text and can learn neither",
                "keep one scoring of each text, or score again with several samples",
            )
        )
    leaks = sum(len(found) > 1 for found in groups.values())
    if leaks:
        findings.append(
            problem(
                "groups",
                f"{leaks} texts in several groups",
                "a text that was trained on is measured as held out",
                "give what shares a text the same metadata.prompt_id",
            )
        )
    if count and not conflicts:
        findings.append(
            note(
                "repeats",
                f"{count} repeated texts",
                "each counts as often as it stands there",
                "remove them if that is not meant",
            )
        )
    return findings


def _sides(samples: Sequence[Sample], pairs: Sequence[tuple[int, int]]) -> list[Finding]:
    findings = []
    lengths = [len(as_text(sample.response)) for sample in samples]
    same = sum(samples[a].text_digest == samples[b].text_digest for a, b in pairs)
    if same:
        why = "no model can tell them apart"
        findings.append(
            problem("pairs", f"{same} with the same text on both sides", why, "remove them")
        )
    empty = sum(not as_text(sample.response).strip() for sample in samples)
    if empty:
        why = "a model learns to give numbers to nothing"
        findings.append(problem("texts", f"{empty} are empty", why, "remove them"))
    different = [(a, b) for a, b in pairs if lengths[a] != lengths[b]]
    if different:
        share = sum(lengths[a] > lengths[b] for a, b in different) / len(different)
        if len(different) >= 8 and not 1 - LONGER < share < LONGER:
            side = "longer" if share > 0.5 else "shorter"
            often = max(share, 1 - share)
            findings.append(
                problem(
                    "length",
                    f"the {side} side is the chosen one in {often:.0%} of the pairs",
                    "a model can learn length instead of quality",
                    "add degradations that keep or raise the length, and look at the length "
                    "baseline of `evaluate` and at `audit`",
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
        findings.append(
            note(
                "pairs",
                f"{unlike} of {len(pairs)} with equal levels on both sides",
                "they teach no order",
                "`judge validate` filters them",
            )
        )
    return findings


def _read_by(
    samples: Sequence[Sample], pairs: Sequence[tuple[int, int]], model: Path
) -> list[Finding]:
    """What the model would read of the texts, and what it would not."""
    from reward_model.model.folder import load_bundle

    builder = load_bundle(model).builder
    seen: list[str] = []
    cut = prompts = 0
    for sample in samples:
        one = builder.one(sample.prompt, sample.response)
        cut, prompts = cut + one.response_cut, prompts + one.prompt_cut
        seen.append(digest(one.input_ids))
    words = (
        f"{cut / len(seen):.0%} of the responses and {prompts / len(seen):.0%} of the prompts lose "
        f"their middle at {builder.max_length} tokens"
    )
    findings = [ok("truncation", words)]
    if cut / len(seen) > CUT:
        findings = [
            problem(
                "truncation",
                words,
                "the labels judge the whole text, the model reads a part of it",
                "train with a larger --max-length, on a base model that reads as much",
            )
        ]
    alike = sum(
        seen[a] == seen[b] and samples[a].text_digest != samples[b].text_digest for a, b in pairs
    )
    if alike:
        findings.append(
            problem(
                "truncation",
                f"{alike} pairs whose two sides are the same to the model",
                "one input with two labels teaches nothing",
                "what tells them apart is cut off or unknown to its tokenizer: read more of it",
            )
        )
    return findings + (_tables(samples) if builder.evidence == "checks" else [])


def _tables(samples: Sequence[Sample]) -> list[Finding]:
    """Prompts in which the checks find nothing to verify a response with."""
    from reward_model.checks import read_facts

    known: set[str] = set()
    blind = 0
    for sample in samples:
        prompt = as_text(sample.prompt)
        if (key := digest(prompt)) not in known:
            known.add(key)
            blind += not read_facts(prompt).figures
    words = f"{blind} of {len(known)} prompts without a table that the checks can read"
    if blind <= BLIND * len(known):
        return [ok("evidence", words)]
    return [
        problem(
            "evidence",
            words,
            "the model was trained on what the checks verify, and here they can verify nothing",
            "give the prompt with its tables, or use a model trained with --evidence none",
        )
    ]
