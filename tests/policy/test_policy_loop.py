"""The whole loop on a small world: rounds raise the reward, kills change nothing, gates stop."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_world
from commands import run, spawn

from reward_model.policy.mixture import mix
from reward_model.policy.rows import read_rows
from reward_model.train import train
from reward_model.train.config import resolve

DIMENSIONS = ("depth", "professionalism", "accuracy")

NAMES = ("alpha", "beta", "gamma", "delta")
PROMPTS = [f"report {a} {b} {c} {d} :" for a in NAMES for b in NAMES for c in NAMES for d in NAMES]
OTHERS = [word for word in tiny_world.WORDS if word not in tiny_world.GOOD]


def rated(path: Path, seed: int = 0) -> Path:
    """Pairs whose levels are the number of good words among all the words a policy can say."""
    rng = random.Random(seed)
    rows = []
    for n in range(160):
        levels = {"chosen": rng.randint(2, 4), "rejected": rng.randint(0, 2)}
        texts = {}
        for side, level in levels.items():
            good = 1 + 2 * level
            words = rng.choices(tiny_world.GOOD, k=good) + rng.choices(OTHERS, k=12 - good)
            rng.shuffle(words)
            texts[side] = " ".join(words)
        scores = {s: dict.fromkeys(DIMENSIONS, level) for s, level in levels.items()}
        about = {"prompt_id": f"p{n % 20}"}
        rows.append({"prompt": PROMPTS[n % 20], **texts, "metadata": about, "scores": scores})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loop")
    flags = {"base_model": "tiny", "epochs": 8.0, "max_length": 64, "max_prompt_length": 32}
    for seed, name in enumerate(("reward", "gold")):
        pairs = rated(folder / f"{name}.jsonl", seed)
        train(resolve(pairs, folder / name, None, {**flags, "seed": seed}))
    tiny_world.policy().save_pretrained(folder / "base")
    tiny_world.tokenizer().save_pretrained(folder / "base")
    rows = "".join(json.dumps({"prompt": p}) + "\n" for p in PROMPTS)
    (folder / "prompts.jsonl").write_text(rows, "utf-8")
    return folder


def written(world: Path, path: Path, out: Path, more: str = "", **values: Any) -> Path:
    settings = {
        "base": str(world / "base"), "reward": str(world / "reward" / "best"),
        "prompts": str(world / "prompts.jsonl"), "out": str(out), "rounds": 2,
        "prompts_per_round": 16, "test_prompts": 12, "n": 4, "max_new_tokens": 12,
        "max_length": 40,
    } | values  # fmt: skip
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    train = 'method = "dpo"\nepochs = 4\nlearning_rate = 2e-3\nbatch_size = 8\nmax_length = 40\n'
    shares = "eval_share = 0\ntest_share = 0\n"
    path.write_text("\n".join(lines) + f"\n[train]\n{train}{shares}{more}", "utf-8")
    return path


def told(path: Path) -> dict[str, Any]:
    done = run("reward-model", "policy", "loop", path, "--json", "-")
    assert done.code in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_rounds_raise_the_gold_reward_on_prompts_never_used(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "loop"
    state = told(
        written(
            world,
            tmp_path / "loop.toml",
            out,
            rounds=3,
            prompts_per_round=64,
            test_prompts=32,
            n=8,
            gold=str(world / "gold" / "best"),
        )
    )
    assert state["done"]
    assert state["last_good"] == 3
    last = state["rounds"][-1]["measured"]
    assert last["intervals"]["reward_change"]["low"] > 0
    # Another model of other texts, which no round asked, says so too.
    assert last["intervals"]["gold_change"]["low"] > 0
    used = [
        {
            json.dumps(row.prompt)
            for row in read_rows(out / f"round-{n}" / "prompts.jsonl", "prompts").rows
        }
        for n in (1, 2, 3)
    ]
    used.append(
        {json.dumps(r.prompt) for r in read_rows(out / "test_prompts.jsonl", "prompts").rows}
    )
    assert sum(map(len, used)) == len(set.union(*used))
    again = told(tmp_path / "loop.toml")
    assert again == state


@pytest.mark.slow
def test_killed_anywhere_it_ends_in_the_same_files(world: Path, tmp_path: Path) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    told(written(world, tmp_path / "a.toml", straight))
    settings = written(world, tmp_path / "b.toml", broken)
    rng = random.Random(0)
    for _ in range(int(os.environ.get("LOOP_KILLS", 2))):  # more of them take minutes
        process = spawn("reward-model", "policy", "loop", settings)
        time.sleep(rng.uniform(5, 14))
        process.kill()
        process.communicate()
    told(settings)
    names = [
        "round-1/samples.jsonl",
        "round-1/mixture.jsonl",
        "round-2/samples.jsonl",
        "round-2/policy/best/model.safetensors",
    ]
    for name in names:
        assert (broken / name).read_bytes() == (straight / name).read_bytes(), name
    for state in (straight, broken):
        assert json.loads((state / "loop.json").read_text())["done"]


@pytest.mark.slow
def test_a_gate_stops_and_another_loop_is_refused(world: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "loop", tmp_path / "loop.toml"
    written(world, path, out, "\n[gate]\nmax_kl = 0.000001\n", rounds=1)
    done = run("reward-model", "policy", "loop", path)
    assert done.code == 1
    assert "stopped by the gate" in done.stderr
    assert "the last good round is 0" in done.stderr
    written(world, path, out, rounds=1, n=5)
    done = run("reward-model", "policy", "loop", path)
    assert done.code == 2
    assert "a loop with other n" in done.stderr


@pytest.mark.parametrize(
    ("values", "more", "words"),
    [
        ({"prompts_per_round": 5000}, "", "expected 10,012"),
        ({"base": "nowhere"}, "", "nowhere"),
        ({"round": 3}, "", "round"),
        ({}, 'output_dir = "x"\n', "the loop sets them itself"),
        ({"n": 1}, "", "n"),
    ],
)
def test_wrong_settings_are_named(
    world: Path, tmp_path: Path, values: dict[str, Any], more: str, words: str
) -> None:
    path = written(world, tmp_path / "loop.toml", tmp_path / "out", more, **values)
    done = run("reward-model", "policy", "loop", path)
    assert done.code == 2, done
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mixture_has_its_shares_and_whole_groups(tmp_path: Path) -> None:
    def pairs(name: str, count: int) -> str:
        path = tmp_path / f"{name}.jsonl"
        rows = [
            {"prompt": f"{name} {n // 2}", "chosen": f"good {n}", "rejected": f"bad {n}"}
            for n in range(count)
        ]
        path.write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
        return str(path)

    sources = {
        "new": pairs("new", 20),
        "original": pairs("old", 200),
        "previous": pairs("before", 4),
    }
    out = tmp_path / "out.jsonl"
    counts = mix(sources, {"new": 0.5, "original": 0.3, "previous": 0.2}, out, seed=1)
    assert counts == {"new": 20, "original": 12, "previous": 4}
    made = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert len({row["chosen"] + row["prompt"] for row in made}) == 36
    first = out.read_bytes()
    mix(sources, {"new": 0.5, "original": 0.3, "previous": 0.2}, out, seed=1)
    assert out.read_bytes() == first
