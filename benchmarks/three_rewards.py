"""Three rewards in one table over every benchmark's form: our model, a scalar, the embedded judge.

    python benchmarks/three_rewards.py QUICKSTART OUT

QUICKSTART is a folder that `reward-model quickstart` filled. The scalar is TRL's Bradley-Terry on
the same base, pairs and steps. The data are the quickstart's held-out pairs, written into OUT in
the shape of each benchmark (the tests that this package ships for them count as their authors do):
so the table shows `bench` at work and how three rewards differ on one kind of text, and says
nothing of the benchmarks' own questions.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reward_model.data.held_out import choose
from reward_model.data.reading import read_samples
from reward_model.measure.texts import split_of
from reward_model.records import as_text
from reward_model.rubrics import load_rubric

Row = dict[str, Any]
Pair = tuple[str, str, str]
"""Prompt, chosen, rejected."""


def main() -> None:
    """Write the forms, train the scalar where it is missing, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("quickstart", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    model, kept = options.quickstart / "model" / "best", options.quickstart / "kept.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    scalar = options.out / "scalar"
    if not scalar.exists():
        command("evaluate", model, kept, "--compare-out", scalar, "--no-card")
    pairs = held_out(model, kept)
    data = []
    for name, form in FORMS.items():
        path = options.out / f"{name}.jsonl"
        rows = [row for n in range(len(pairs)) for row in form(pairs, n)]
        path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
        data += ["--data", f"{name}={path}"]
    found = options.out / "bench.json"
    rewards = [f"ours={model}", f"scalar={scalar}", "judge=offline"]
    command(
        "bench", *rewards, *data, "--rubric", "financial_report", "--out", options.out / "judge",
        "--json", found,
    )  # fmt: skip
    show(json.loads(found.read_bytes()))


def command(*words: object) -> None:
    """Run `reward-model WORDS`; what it prints goes beside the table."""
    line = [sys.executable, "-m", "reward_model", *map(str, words)]
    subprocess.run(line, check=True, stdout=sys.stderr)


def held_out(model: Path, kept: Path) -> list[Pair]:
    """The test pairs; controls whose two sides are alike are left out."""
    test = choose(read_samples(kept, load_rubric("financial_report"))[0], split_of(model)).test
    sides: dict[str, dict[str, str]] = {}
    for sample in test:
        if not sample.neutral:
            both = sides.setdefault(sample.pair, {"prompt": as_text(sample.prompt)})
            both[sample.side] = as_text(sample.response)
    return [(one["prompt"], one["chosen"], one["rejected"]) for one in sides.values()]


def either(pair: Pair, n: int) -> tuple[str, str, bool]:
    """The answers of a pair, the better one first in every second row."""
    first = n % 2 == 0
    return (pair[1], pair[2], True) if first else (pair[2], pair[1], False)


def reward_bench(pairs: list[Pair], n: int) -> list[Row]:
    prompt, chosen, rejected = pairs[n]
    subsets = ("alpacaeval-easy", "llmbar-natural", "xstest-should-respond", "hep-python")
    return [{"prompt": prompt, "chosen": chosen, "rejected": rejected, "subset": subsets[n % 4]}]


def reward_bench_2(pairs: list[Pair], n: int) -> list[Row]:
    """Best of four: the flawed reports of the three next pairs are answers to another question."""
    prompt, chosen, _ = pairs[n]
    others = [pairs[(n + k) % len(pairs)][2] for k in range(3)]
    row = {"id": str(n), "prompt": prompt, "chosen": [chosen], "rejected": others}
    return [{**row, "subset": ("Factuality", "Focus")[n % 2], "num_correct": 1}]


def rm_bench(pairs: list[Pair], n: int) -> list[Row]:
    """Three styles: as it is, with bold figures, with every line a bullet."""
    prompt, *sides = pairs[n]

    def styles(text: str) -> list[str]:
        bullets = "\n".join(f"- {line}" for line in text.splitlines() if line.strip())
        return [text, re.sub(r"\d[\d,.]*\d%?", r"**\g<0>**", text), bullets]

    chosen, rejected = map(styles, sides)
    domain = ("chat", "math", "code", "safety-response")[n % 4]
    return [{"prompt": prompt, "chosen": chosen, "rejected": rejected, "domain": domain}]


def judge_bench(pairs: list[Pair], n: int) -> list[Row]:
    one, other, first = either(pairs[n], n)
    row = {"question": pairs[n][0], "response_A": one, "response_B": other}
    return [{**row, "label": "A>B" if first else "B>A", "source": "livebench-reasoning"}]


def llmbar(pairs: list[Pair], n: int) -> list[Row]:
    one, other, first = either(pairs[n], n)
    row = {"input": pairs[n][0], "output_1": one, "output_2": other, "label": 1 if first else 2}
    return [{**row, "subset": ("Natural", "Neighbor")[n % 2]}]


def ppe_preference(pairs: list[Pair], n: int) -> list[Row]:
    one, other, first = either(pairs[n], n)
    row = {"prompt": pairs[n][0], "response_1": one, "response_2": other, "language": "Chinese"}
    return [{**row, "winner": "model_a" if first else "model_b"}]


def ppe_correctness(pairs: list[Pair], n: int) -> list[Row]:
    prompt, chosen, rejected = pairs[n]
    other = pairs[(n + 1) % len(pairs)][2]
    row = {"prompt": prompt, "response_1": rejected, "response_2": chosen, "response_3": other}
    return [{**row, "scores": [False, True, False], "benchmark": "reports"}]


def helpsteer2(pairs: list[Pair], n: int) -> list[Row]:
    one, other, first = either(pairs[n], n)
    row = {"prompt": pairs[n][0], "response_1": one, "response_2": other}
    return [{**row, "preference_strength": -2 if first else 2}]


def helpsteer3(pairs: list[Pair], n: int) -> list[Row]:
    one, other, first = either(pairs[n], n)
    context = [{"role": "user", "content": pairs[n][0]}]
    row = {"context": context, "response1": one, "response2": other, "domain": "General"}
    return [{**row, "overall_preference": -2 if first else 2}]


def plain(pairs: list[Pair], n: int) -> list[Row]:
    prompt, chosen, rejected = pairs[n]
    return [{"prompt": prompt, "chosen": chosen, "rejected": rejected}]


FORMS: dict[str, Callable[[list[Pair], int], list[Row]]] = {
    "RewardBench": reward_bench,
    "RewardBench2": reward_bench_2,
    "RM-Bench": rm_bench,
    "JudgeBench": judge_bench,
    "LLMBar": llmbar,
    "PPE-preference": ppe_preference,
    "PPE-correctness": ppe_correctness,
    "HelpSteer2": helpsteer2,
    "HelpSteer3": helpsteer3,
    "pairs": plain,
}


def show(result: dict[str, Any]) -> None:
    """One line a benchmark: its own figure of each reward in per cent, and texts a second."""
    names = [one["name"] for one in result["rewards"]]
    print(f"| form | items | {' | '.join(names)} |\n|---|---|" + "---|" * len(names))
    for one in result["benchmarks"]:
        cells = []
        for name in names:
            score = one["rewards"][name]["metrics"]["score"]
            low, high = (f"{100 * score[end]:.0f}" for end in ("low", "high"))
            cells.append(f"{100 * score['value']:.1f} [{low}, {high}]")
        print(f"| {one['form']} | {one['items']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
