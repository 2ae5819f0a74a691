"""Does a model know what it does not know? Familiarity on two data sets.

    python benchmarks/familiarity.py [--out FOLDER] [--pairs 300] [--texts 150] [--seed 0]
        [--sets writer human]

`writer`: pairs of the embedded writer, Chinese and English, on the tiny base. `human`: HelpSteer
responses with human ratings ($REWARD_TEST_DATA, else ../shared/data beside the repository) on
all-MiniLM-L6-v2, whose heads are fitted and hardly trained. The test groups are what a model should
know. Beside them stand the same texts said again, taken apart or halved, and the test texts of the
other set. AUROC: the chance that one of these looks stranger than a held-out text, by familiarity,
by the distance of the vector alone and by the mean standard deviation of the level, with intervals
by group. Then the error on the most familiar held-out texts against that on the surest ones, and
what scoring costs. What is finished is not made again.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from encoder import command, minilm

from reward_model.cli.quickstart import SMOOTHING
from reward_model.data.dataset import label_array
from reward_model.data.held_out import choose
from reward_model.data.reading import read_samples
from reward_model.data.sample import Sample
from reward_model.data.scrambled import salad, sentences, shuffle_words
from reward_model.data.tokens.inputs import Encoded
from reward_model.measure.texts import split_of
from reward_model.model.folder import load_bundle
from reward_model.records import IGNORE, as_text
from reward_model.score.scorer import RewardScorer, Score
from reward_model.stats.bootstrap import Bootstrap, Estimand, Floats

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("REWARD_TEST_DATA", ROOT.parent / "shared" / "data"))
SETS = ("writer", "human")
SHARES = (1.0, 0.9, 0.75, 0.5)
"""Of the texts, that are answered."""
STRANGE = 0.05
Edit = Callable[[str, random.Random], str]


def second_half(text: str, rng: random.Random) -> str:
    """What stands behind the middle."""
    return text[len(text) // 2 :]


def half_again(text: str, rng: random.Random) -> str:
    """The second half three times more."""
    return text + ("\n" + second_half(text, rng)) * 3


def sentence_again(text: str, rng: random.Random) -> str:
    """One sentence of it, again and again, until it is as long; at least four times."""
    every = [part for line in text.split("\n") for part in sentences(line)] or [text]
    one = rng.choice(every)
    return "\n".join([one] * max(4, len(text) // len(one)))


EDITS: dict[str, Edit] = {
    "second half three times more": half_again,
    "one sentence again and again": sentence_again,
    "salad": salad,
    "shuffled words": shuffle_words,
    "its first half": lambda text, rng: text[: len(text) // 2],
    "its second half": second_half,
}


def trained(out: Path, name: str, pairs: int, seed: int) -> tuple[Path, Path]:
    """A model and the file it was trained from."""
    model, scored = out / name / "best", DATA / "helpsteer_single.jsonl"
    flags: tuple[object, ...]
    if name == "writer":
        made, scored = out / "pairs.jsonl", out / "scored.jsonl"
        if not scored.exists():
            design = ("--pairs", pairs, "--language", "both", "--seed", seed)
            command("datagen", "pairs", "--out", made, *design)
            command("judge", "score", made, "--out", scored, "--seed", seed)
        flags = ("--base-model", "tiny", "--evidence", "checks", "--label-smoothing", SMOOTHING)
        flags += ("--eval-share", 0.2)
    else:
        flags = ("--base-model", minilm(), "--rubric", "helpsteer", "--max-length", 768)
        flags += ("--window", 256, "--epochs", 0.1, "--eval-share", 0.25)
    if not (out / name / "metrics.json").exists():
        where = ("--output-dir", out / name, "--test-share", 0.25, "--seed", seed)
        command("reward_model", "train", scored, *flags, *where)
    return model, scored


def held_out(model: Path, scored: Path, most: int, seed: int) -> list[Sample]:
    """Texts of its test groups."""
    samples, _ = read_samples(scored, load_bundle(model).rubric)
    test = list(choose(samples, split_of(model)).test)
    return random.Random(seed).sample(test, min(most, len(test)))


def main() -> None:
    """Train what is missing; print two tables and what it costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/familiarity"))
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--texts", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    files = {name: trained(options.out, name, options.pairs, options.seed) for name in SETS}
    texts = {name: held_out(*one, options.texts, options.seed) for name, one in files.items()}
    print("| trained on | against | texts | familiarity | distance alone | spread | below 0.05 |")
    print("|---" * 7 + "|")
    errors: list[Floats] = []
    costs = []
    for name in options.sets:
        (other,) = (texts[one] for one in SETS if one != name)
        errors.append(measured(name, files[name][0], texts[name], other, options.seed))
        costs.append(cost(name, files[name][0], texts[name][:60]))
    titles = [f"{name}, {by}" for name in options.sets for by in ("familiar", "surest", "best")]
    print("\n| texts answered | " + " | ".join(titles) + " |")
    print("|---" * (len(titles) + 1) + "|")
    for i, share in enumerate(SHARES):
        cells = [f"{value:.3f}" for table in errors for value in table[:, i]]
        print(f"| {share:.0%} | " + " | ".join(cells) + " |")
    print("\n" + "\n".join(costs))


def measured(
    name: str, model: Path, own: Sequence[Sample], other: Sequence[Sample], seed: int
) -> Floats:
    """Print the rows of one set; the error [3, shares] by familiarity, by spread, at best."""
    bundle = load_bundle(model)
    assert bundle.familiarity is not None
    far = replace(bundle, familiarity=replace(bundle.familiarity, phrases=None))
    scorers = RewardScorer(bundle), RewardScorer(far)
    prompts = [as_text(sample.prompt) for sample in own]
    responses = [as_text(sample.response) for sample in own]
    groups = [sample.group for sample in own]

    def read(asked: Sequence[str], said: Sequence[str]) -> tuple[list[Score], Floats]:
        scores, alone = (one.score_batch(asked, said) for one in scorers)
        spread = [np.mean(list(score.uncertainty.values() or [0.0])) for score in scores]
        known = [[s.familiarity or 0.0 for s in some] for some in (scores, alone)]
        return scores, np.array([*known, [-value for value in spread]])

    scores, values = read(prompts, responses)
    print(f"| {name} | held-out texts | {len(own)} | | | | {_share(values[0])} |", flush=True)
    kinds: dict[str, tuple[list[str], list[str], list[str]]] = {
        "the other set": (
            [as_text(sample.prompt) for sample in other],
            [as_text(sample.response) for sample in other],
            [f"other {sample.group}" for sample in other],
        )
    }
    for kind, edit in EDITS.items():
        rng = random.Random(f"{seed}:{kind}")
        kinds[kind] = prompts, [edit(text, rng) or text for text in responses], groups
    for kind, (asked, said, of) in kinds.items():
        _, found = read(asked, said)
        cells = [_auroc(*pair, groups, of, seed) for pair in zip(values, found, strict=True)]
        line = (name, kind, str(len(said)), *cells, _share(found[0]))
        print("| " + " | ".join(line) + " |", flush=True)

    labels = label_array(list(own)).astype(np.float64)
    there = labels != IGNORE
    levels = np.array([list(score.levels.values()) for score in scores])
    off = (np.abs(levels - labels) * there).sum(1) / there.sum(1)
    orders = (np.argsort(key, kind="stable") for key in (-values[0], -values[2], off))
    return np.array(
        [[off[order[: round(share * len(own))]].mean() for share in SHARES] for order in orders]
    )


def _share(known: Floats) -> str:
    return f"{np.mean(known <= STRANGE):.0%}"


def _auroc(
    own: Floats, other: Floats, groups: Sequence[str], others: Sequence[str], seed: int
) -> str:
    """The chance that one of `other` is below one of `own`, ties by half, with its interval."""
    values, cells = np.unique(np.concatenate([own, other]), return_inverse=True)
    size = len(values)
    cells = cells + size * (np.arange(len(cells)) >= len(own))
    bootstrap = Bootstrap([*groups, *others], seed=seed)
    rows = np.arange(len(cells))

    def area(totals: Floats) -> Floats:
        known, strange = totals[..., :size], totals[..., size:]
        above = np.cumsum(known[..., ::-1], axis=-1)[..., ::-1] - known / 2
        pairs = known.sum(-1) * strange.sum(-1)
        return np.asarray((strange * above).sum(-1) / np.where(pairs > 0, pairs, np.nan))

    sums = bootstrap.sums(rows, cells, 2 * size, np.ones(len(cells)))
    found = bootstrap.estimate(Estimand(sums, area, len(cells), span=(0.0, 1.0)))
    return f"{found.value:.3f} [{found.low:.2f}, {found.high:.2f}]"


def cost(name: str, model: Path, own: Sequence[Sample]) -> str:
    """What familiarity adds to scoring, in time of the CPU."""
    bundle = load_bundle(model)
    known, builder = bundle.familiarity, bundle.builder
    assert known is not None
    scorer = RewardScorer(replace(bundle, familiarity=None))
    prompts = [as_text(sample.prompt) for sample in own]
    responses = [as_text(sample.response) for sample in own]
    whole = min(_seconds(lambda: scorer.score_batch(prompts, responses)) for _ in range(3))
    read = builder.build(prompts, responses)
    short = [replace(one, input_ids=one.input_ids[:60], answer_tokens=58) for one in read]
    vectors = np.repeat(known.middle[None], len(own), axis=0)

    def added(texts: Sequence[Encoded]) -> float:
        def work() -> object:
            said = known.read([builder.response_ids(one) for one in texts])
            return known.of(vectors, said)

        return min(_seconds(work) for _ in range(20)) / len(texts)

    tokens = np.mean([one.answer_tokens for one in read])
    return (
        f"{name}: familiarity adds {added(read) * 1e6:.1f} microseconds a text, whose response has "
        f"{tokens:.0f} tokens, to {whole / len(own) * 1e3:.2f} ms: "
        f"{added(read) * len(own) / whole:.2%}; {added(short) * 1e6:.1f} to one of 60"
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
