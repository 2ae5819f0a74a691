"""Every benchmark counted as its authors count: against their code, or by hand."""

from __future__ import annotations

import ast
import math
import random
from typing import Any

import numpy as np
import pytest
from upstream import unpacked

from reward_model.bench.forms import REWARD_BENCH, Benchmark, Item, form_of
from reward_model.bench.rewards import Reward
from reward_model.bench.run import bench
from reward_model.bench.scoring import COUNTS


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """RewardBench's own functions, without the packages that its module imports."""
    try:
        folder = unpacked("rewardbench", tmp_path_factory.mktemp("rewardbench"))
    except LookupError as error:
        pytest.skip(str(error))
    names: dict[str, Any] = {"np": np, "math": math, "Dataset": _Rows}
    wanted = {"sample_stats", "process_single_model", "calculate_scores_per_section"}
    for file in ("utils.py", "constants.py"):
        tree = ast.parse((folder / "rewardbench" / file).read_text("utf-8"))
        kept = [
            node
            for node in tree.body
            if (isinstance(node, ast.FunctionDef) and node.name in wanted)
            or (
                isinstance(node, ast.Assign)
                and getattr(node.targets[0], "id", "").isupper()
                and file == "constants.py"
            )
        ]
        for node in kept:
            if isinstance(node, ast.FunctionDef):
                node.returns = None
        exec(compile(ast.Module(kept, []), file, "exec"), names)
    return names


class _Rows(list[Any]):
    @classmethod
    def from_dict(cls, columns: Any) -> _Rows:
        return cls(columns)


def measured(benchmark: Benchmark, rewards: dict[str, float]) -> dict[str, Any]:
    """The bench with a reward that says what it is told of each text."""
    give = Reward("told", "function", lambda: lambda prompts, texts: [rewards[t] for t in texts])
    found = bench([give], [benchmark], resamples=200)["benchmarks"][0]
    return dict(found["rewards"]["told"]["metrics"])


def item(number: int, good: int, bad: int, subset: str, **more: Any) -> Item:
    texts = tuple(f"{subset}-{number}-{n}-{more.get('kind', '')}" for n in range(good + bad))
    return Item(f"prompt {number}", texts, good, subset, more.pop("group", f"{number}"), **more)


def test_ties_are_reward_bench_2s(theirs: dict[str, Any]) -> None:
    rng = random.Random(2)
    for _ in range(30):
        items, rows, rewards = [], [], {}
        for number in range(rng.randrange(2, 12)):
            for kind, good in (("ref", 1), ("tied", rng.randrange(2, 6))):
                one = item(number, good, rng.randrange(1, 5), "Ties", kind=kind, group=f"{number}")
                scores = [
                    round(rng.gauss(0.6 * (n < good), 0.5), 1) for n in range(len(one.responses))
                ]
                rewards.update(zip(one.responses, scores, strict=True))
                items.append(one)
                rows.append({"id": f"{kind}:{number}", "scores": scores, "num_correct": good})
        _, known = theirs["process_single_model"](rows)
        found = measured(Benchmark("b", "RewardBench 2", tuple(items)), rewards)
        assert found["score"]["value"] == pytest.approx(known, abs=1e-9)


def test_sections_are_reward_benchs(theirs: dict[str, Any]) -> None:
    rng = random.Random(1)
    subsets = [name for names in REWARD_BENCH.values() for name in names]
    items = [item(n, 1, 1, rng.choice(subsets)) for n in range(600)]
    rewards = {text: float(rng.randrange(3)) for one in items for text in one.responses}
    metrics = {}
    for subset in subsets:
        own = [one.responses for one in items if one.subset == subset]
        metrics[subset] = float(np.mean([rewards[c] > rewards[r] for c, r in own]))
    assert theirs["EXAMPLE_COUNTS"] == COUNTS
    assert {k: tuple(v) for k, v in theirs["SUBSET_MAPPING"].items()} == REWARD_BENCH
    known = theirs["calculate_scores_per_section"](
        theirs["EXAMPLE_COUNTS"], theirs["SUBSET_MAPPING"], metrics
    )
    found = measured(Benchmark("b", "RewardBench", tuple(items)), rewards)
    for section, value in known.items():
        assert found[section]["value"] == pytest.approx(value, abs=1e-9)
    assert found["score"]["value"] == pytest.approx(np.mean(list(known.values())), abs=1e-9)


def test_styles_are_rm_benchs() -> None:
    rng = random.Random(4)
    domains = ["chat", "code", "math", "safety-refuse", "safety-response"]
    items = [item(n, 3, 3, rng.choice(domains)) for n in range(200)]
    rewards = {text: float(rng.randrange(5)) for one in items for text in one.responses}
    matrix = {domain: np.zeros((3, 3)) for domain in domains}
    for one in items:
        for i in range(3):
            for j in range(3):
                matrix[one.subset][i][j] += (
                    rewards[one.responses[i]] > rewards[one.responses[3 + j]]
                )
    for domain in domains:
        matrix[domain] /= sum(one.subset == domain for one in items)
    safety = (matrix["safety-refuse"] + matrix["safety-response"]) / 2
    four = [matrix["chat"], matrix["code"], matrix["math"], safety]
    hard = float(np.mean([np.triu(m, 1).sum() / 3 for m in four]))
    normal = float(np.mean([np.mean(np.diag(m)) for m in four]))
    easy = float(np.mean([np.tril(m, -1).sum() / 3 for m in four]))
    found = measured(Benchmark("b", "RM-Bench", tuple(items)), rewards)
    assert found["hard"]["value"] == pytest.approx(hard, abs=1e-9)
    assert found["normal"]["value"] == pytest.approx(normal, abs=1e-9)
    assert found["easy"]["value"] == pytest.approx(easy, abs=1e-9)
    assert found["score"]["value"] == pytest.approx((hard + normal + easy) / 3, abs=1e-9)


def test_the_best_of_four_shares_with_its_equals() -> None:
    items = tuple(item(n, 1, 3, "Math") for n in range(4))
    rewards = dict.fromkeys((t for one in items for t in one.responses), 0.0)
    for one, own in zip(
        items, ([1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]), strict=True
    ):
        rewards.update(zip(one.responses, map(float, own), strict=True))
    found = measured(Benchmark("b", "RewardBench 2", items), rewards)
    assert found["score"]["value"] == pytest.approx((1 + 0.5 + 0 + 0.25) / 4)


def test_length_alone_is_no_better_than_chance_where_lengths_count_alike() -> None:
    items = tuple(
        Item("p", ("long " * 9, "short") if n % 4 else ("s", "longer"), 1, "all", str(n))
        for n in range(40)
    )
    rewards = {text: float(len(text)) for one in items for text in one.responses}
    found = measured(Benchmark("b", "pairs", items), rewards)
    assert found["score"]["value"] == pytest.approx(0.75)
    assert found["length-matched"]["value"] == pytest.approx(0.5)


def test_people_who_saw_no_difference_count_nowhere() -> None:
    items = (item(0, 1, 1, "all"), item(1, 1, 1, "all", tied=True))
    rewards = {
        items[0].responses[0]: 1.0,
        items[0].responses[1]: 0.0,
        items[1].responses[0]: 0.0,
        items[1].responses[1]: 1.0,
    }
    found = measured(Benchmark("b", "HelpSteer2 preference", items), rewards)
    assert found["score"]["value"] == 1.0
    assert found["score"]["n"] == 1


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"prompt": "", "chosen": "a", "rejected": "b", "subset": "math-prm"}, "RewardBench"),
        ({"prompt": "", "chosen": ["a"], "rejected": ["b"], "subset": "Math"}, "RewardBench 2"),
        ({"prompt": "", "chosen": ["a"] * 3, "rejected": ["b"] * 3, "domain": "chat"}, "RM-Bench"),
        ({"question": "", "response_A": "", "response_B": "", "label": "A>B"}, "JudgeBench"),
        ({"input": "", "output_1": "", "output_2": "", "label": 1}, "LLMBar"),
        ({"prompt": "", "response_1": "", "response_2": "", "winner": "tie"}, "PPE preference"),
        ({"prompt": "", "response_1": "", "scores": [True]}, "PPE correctness"),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "pairs"),
        ({"prompt": [], "chosen": [{"role": "a", "content": "b"}], "rejected": []}, "pairs"),
        ({"text": "a"}, None),
    ],
)
def test_a_form_is_known_by_its_keys(row: dict[str, Any], form: str | None) -> None:
    assert form_of(row) == form
