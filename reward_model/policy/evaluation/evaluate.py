"""Measure policies on what their training never saw, beside the reference they began from.

`evaluate(["outputs/policies/P"], PolicyEvaluation(reward=...))` gives one JSON object for all runs;
each run keeps its own part in `evaluation/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reward_model.policy.base import RUN, Place, Policy, find_policy, open_policy
from reward_model.policy.evaluation.answers import (
    Sampled,
    best_of_n,
    compare,
    describe,
    divergence,
    draw,
    examples,
)
from reward_model.policy.evaluation.duel import read_judged, write_duel
from reward_model.policy.evaluation.find import find_policies
from reward_model.policy.evaluation.held_out import Wanted, held_out, instruction_of, trained
from reward_model.policy.evaluation.measure import Logps, answer_logps
from reward_model.policy.evaluation.numbers import Numbers, Told
from reward_model.policy.evaluation.problems import notes, problems
from reward_model.policy.generate import Manner
from reward_model.policy.rewards import answering
from reward_model.policy.rows import PolicyRow, fact, with_instruction
from reward_model.records import UserError, read_object, write_json, write_jsonl
from reward_model.records.terminal import console
from reward_model.rlhf.source import RewardSource

Ints = NDArray[np.int64]
EVALUATION = "evaluation"
SKIPS = ("pairs", "perplexity", "samples", "kl")


@dataclass(frozen=True)
class PolicyEvaluation:
    """What is measured."""

    data: str | None = None
    """Pairs; none: what each run was trained on, its test groups."""
    prompts: str | None = None
    """None: those of the pairs."""
    reward: str | None = None
    gold: str | None = None
    reference: str | None = None
    """None: what each run began from."""
    judged: Path | None = None
    """`duel.jsonl` after `judge score --mode pairwise`."""
    methods: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    max_samples: int = 100
    """Most prompts that are answered."""
    samples: int = 3
    """Answers a prompt."""
    max_rows: int | None = None
    max_new_tokens: int = 256
    max_length: int = 1024
    max_kl: float | None = None
    instruction: str | None = None
    seed: int = 0
    resamples: int = 1000
    device: str | None = None

    @property
    def wanted(self) -> Wanted:
        """What is asked of the rows."""
        return Wanted(self.data, self.prompts, self.max_rows, self.max_samples, self.seed)


@dataclass
class Measured:
    """One policy: numbers, problems, and what the page shows."""

    place: Place
    told: dict[str, Any]
    problems: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    best_of_n: list[dict[str, float]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As `evaluation.json` has it."""
        return {
            **self.told,
            "generation_samples": self.examples,
            **({"best_of_n": self.best_of_n} if self.best_of_n else {}),
            "problems": self.problems,
            "notes": self.notes,
        }


class _References:
    """References, each loaded, asked and scored once however many runs began from it."""

    def __init__(self, options: PolicyEvaluation, rewards: dict[str, RewardSource]) -> None:
        self._options, self._rewards = options, rewards
        self._open: tuple[str, Policy] | None = None
        self._logps: dict[str, tuple[Logps, Logps | None]] = {}
        self._drawn: dict[str, Sampled] = {}

    def policy(self, place: Place) -> Policy:
        """The reference itself."""
        if self._open is None or self._open[0] != place.digest:
            self._open = (place.digest, open_policy(place, device=self._options.device))
        return self._open[1]

    def logps(self, place: Place, rows: Sequence[PolicyRow]) -> tuple[Logps, Logps | None]:
        """Of chosen and rejected answers."""
        key = place.digest + "".join(row.key for row in rows)
        if key not in self._logps:
            self._logps[key] = _logps(self.policy(place), rows)
        return self._logps[key]

    def drawn(self, place: Place, rows: Sequence[PolicyRow], manner: Manner) -> Sampled:
        """Its answers."""
        key = place.digest + "".join(row.key for row in rows)
        if key not in self._drawn:
            self._drawn[key] = draw(self.policy(place), rows, manner, self._rewards)
        return self._drawn[key]


def evaluate(
    named: Sequence[str], options: PolicyEvaluation
) -> tuple[dict[str, Any], list[Measured]]:
    """The result as JSON, and each policy's part; references come last, as runs of their own.

    Raises:
        UserError: nothing to measure, or input that does not fit.
    """
    unknown = [name for name in options.skip if name not in SKIPS]
    if unknown:
        raise UserError(f"--skip {', '.join(unknown)}", expected=f"of {', '.join(SKIPS)}")
    for idle, what, expected in (
        (options.gold and not options.reward, "--gold without --reward",
         "the reward it stands beside"),
        (options.max_rows is not None and options.data is None, "--max-rows without --data",
         "the pairs that so many are drawn of"),
        ((options.reward or options.prompts) and "samples" in options.skip,
         "--reward or --prompts with --skip samples", "answers, which are what is scored"),
        (options.max_kl is not None and {"samples", "kl"} & set(options.skip),
         "--max-kl with --skip samples or kl", "the divergence that it bounds"),
    ):  # fmt: skip
        if idle:
            raise UserError(what, expected=expected)
    places = find_policies(named, options.methods)
    rewards: dict[str, RewardSource] = {}
    for name, spec in (("reward", options.reward), ("gold", options.gold)):
        if spec is not None:
            rewards[name] = answering(spec)
    references = _References(options, rewards)
    done: list[Measured] = []
    bases: dict[str, tuple[Place, Place]] = {}
    for place in places:
        console().print(f"measuring {place.name}", markup=False)
        base = _reference_of(place, options)
        done.append(_measure(place, base, options, rewards, references))
        if base is not None:
            bases.setdefault(base.digest, (base, place))
    for base, owner in bases.values():
        if base.digest not in {p.digest for p in places}:
            found = _measure(base, None, options, rewards, references, rows_of=owner)
            done.append(found)
    names = _apart([m.place for m in done])
    result = {
        "version": 1,
        "runs": {name: one.to_json() for name, one in zip(names, done, strict=True)},
        "settings": {
            k: (str(v) if isinstance(v, Path) else list(v) if isinstance(v, tuple) else v)
            for k, v in options.__dict__.items()
        },
    }
    for name, one in zip(names, done, strict=True):
        if one.place.run is not None:
            folder = one.place.run / EVALUATION
            write_json(folder / "evaluation.json", {"version": 1, "runs": {name: one.to_json()}})
    return result, done


def _apart(places: Sequence[Place]) -> list[str]:
    """A name for each, none twice."""
    seen: dict[str, int] = {}
    out = []
    for place in places:
        seen[place.name] = seen.get(place.name, 0) + 1
        count = seen[place.name]
        out.append(place.name if count == 1 else f"{place.name}_{count}")
    return out


def _reference_of(place: Place, options: PolicyEvaluation) -> Place | None:
    if options.reference is not None:
        return find_policy(options.reference)
    if place.run is not None:
        base = (read_object(place.run / RUN) or {}).get("base")
        return find_policy(str(base)) if base else None
    return Place(place.base, place.base) if place.adapter is not None else None


def _measure(
    place: Place,
    base: Place | None,
    options: PolicyEvaluation,
    rewards: dict[str, RewardSource],
    references: _References,
    *,
    rows_of: Place | None = None,
) -> Measured:
    pairs, asked = held_out(rows_of or place, options.wanted)
    # What the others were compared with is open, asked and scored already.
    again = base is None and rows_of is not None
    policy = references.policy(place) if again else open_policy(place, device=options.device)
    needed = policy.frame.chat
    pairs = with_instruction(pairs, options.instruction or instruction_of(rows_of or place),
                             needed=needed)  # fmt: skip
    asked = with_instruction(asked, options.instruction or instruction_of(rows_of or place),
                             needed=needed)  # fmt: skip
    fitted = policy.frame.fit(pairs, options.max_length) if pairs else None
    pairs = fitted.rows if fitted else []
    told = Told()
    told.values |= {"policy": place.digest, "reference": base.digest if base else None}
    told.values |= trained(place)
    if fitted is not None:
        told.values |= {"prompts_cut": fitted.cut, "rows_too_long": fitted.too_long}
    slices: dict[str, dict[str, Told]] = {}
    known = [row for row in pairs if row.rejected] or pairs
    if known and "pairs" not in options.skip:
        own = references.logps(place, known) if again else _logps(policy, known)
        other = references.logps(base, known) if base is not None else None
        for cut, pick in _cuts(known, options.by):
            _pair_numbers(own, other, known, pick, _target(cut, told, slices), options)
    out = Measured(place, {})
    groups = 0
    if asked and "samples" not in options.skip:
        manner = Manner(options.samples, options.max_new_tokens, seed=options.seed)
        room = min(options.max_new_tokens, options.max_length - 16)
        asked = policy.frame.fit(asked, options.max_length, room=room).rows
        sampled = (
            references.drawn(place, asked, manner)
            if again
            else draw(policy, asked, manner, rewards)
        )
        before = references.drawn(base, asked, manner) if base is not None else None
        far = None
        if base is not None and "kl" not in options.skip:
            far = divergence(policy, references.policy(base), sampled)
        owners = [row for row, each in zip(asked, sampled.said, strict=True) for _ in each]
        for cut, pick in _cuts(owners, options.by):
            target = _target(cut, told, slices)
            numbers = _numbers([owners[i].group for i in pick], options)
            describe(sampled, target, numbers, pick)
            if before is not None:
                compare(sampled, before, target, numbers, pick, far)
            if cut is None:
                groups = numbers.groups
        out.examples = examples(sampled, before)
        if before is not None and "reward" in rewards:
            out.best_of_n = best_of_n(before)
        _keep(place, sampled, before, options)
    if options.judged is not None and place.run is not None:
        judged = read_judged(options.judged, place.name)
        if judged is not None:
            judged.tell(told, options.seed, options.resamples)
            groups = max(groups, judged.groups)
    out.problems = problems(told.estimates, groups, max_kl=options.max_kl)
    out.notes = notes(told.estimates, groups, told.values)
    out.told = told.to_json()
    if slices:
        out.told["slices"] = {
            name: {value: one.to_json() for value, one in sorted(parts.items())}
            for name, parts in slices.items()
        }
    return out


def _logps(policy: Policy, rows: Sequence[PolicyRow]) -> tuple[Logps, Logps | None]:
    """Of the chosen answers, and of the rejected where rows have them."""
    chosen = answer_logps(policy, rows, [row.chosen for row in rows])
    if not rows[0].rejected:
        return chosen, None
    return chosen, answer_logps(policy, rows, [row.rejected for row in rows])


def _numbers(groups: Sequence[str], options: PolicyEvaluation) -> Numbers:
    return Numbers(groups, seed=options.seed, resamples=options.resamples)


def _cuts(
    rows: Sequence[PolicyRow], by: Sequence[str]
) -> list[tuple[tuple[str, str] | None, Ints]]:
    """All rows, then those of each value of each slice."""
    out: list[tuple[tuple[str, str] | None, Ints]] = [(None, np.arange(len(rows)))]
    for name in by:
        values = [fact(row, name) for row in rows]
        for value in sorted({v for v in values if v is not None}):
            out.append(((name, value), np.array([i for i, v in enumerate(values) if v == value])))
    return out


def _target(cut: tuple[str, str] | None, told: Told, slices: dict[str, dict[str, Told]]) -> Told:
    """Where the numbers of a cut are kept."""
    if cut is None:
        return told
    return slices.setdefault(cut[0], {}).setdefault(cut[1], Told())


def _pair_numbers(
    own: tuple[Logps, Logps | None],
    other: tuple[Logps, Logps | None] | None,
    rows: Sequence[PolicyRow],
    pick: Ints,
    told: Told,
    options: PolicyEvaluation,
) -> None:
    """The numbers of held-out pairs, over the rows at `pick`."""
    numbers = _numbers([rows[i].group for i in pick], options)
    good, bad = own
    told.add("test_loss", numbers.ratio(-good.sums[pick], good.tokens[pick]))
    if "perplexity" not in options.skip:
        told.add("perplexity", numbers.exponential(-good.sums[pick], good.tokens[pick]))
    won = -good.means[pick]
    told.add("avg_chosen_loss", numbers.mean(won))
    if other is not None:
        told.add("chosen_change", numbers.mean((good.means - other[0].means)[pick]))
    if bad is None:
        return
    lost = -bad.means[pick]
    right, tied = won < lost, won == lost
    told.add("preference_accuracy", numbers.mean(right.astype(float), share=True))
    told.values |= {
        "preference_correct": int(right.sum()),
        "preference_total": len(pick),
        "preference_ties": int(tied.sum()),
    }
    told.add("avg_rejected_loss", numbers.mean(lost))
    told.add("loss_margin", numbers.mean(lost - won))
    if other is not None and other[1] is not None:
        margin = ((good.sums - other[0].sums) - (bad.sums - other[1].sums))[pick]
        told.add("implicit_accuracy", numbers.mean((margin > 0).astype(float), share=True))
        told.add("implicit_margin", numbers.mean(margin))


def _keep(place: Place, own: Sampled, before: Sampled | None, options: PolicyEvaluation) -> None:
    """Samples, and the duel for a judge, in the run's folder."""
    if place.run is None:
        return
    folder = place.run / EVALUATION
    rows = (
        {
            "prompt": row.prompt if isinstance(row.prompt, str)
            else [m.model_dump() for m in row.prompt],
            "completions": [a.text for a in said],
            "metadata": {"prompt_id": row.group, "policy": place.digest, "seed": options.seed,
                         "finished": [a.finished for a in said]},
        }
        for row, said in zip(own.rows, own.said, strict=True)
    )  # fmt: skip
    write_jsonl(folder / "samples.jsonl", rows)
    if before is not None:
        write_duel(folder / "duel.jsonl", place.name, own, before, options.seed)
