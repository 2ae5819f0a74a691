"""`judge agree` on files: matching, missing levels, groups, and what it says when it cannot."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pytest
from commands import run
from sklearn.metrics import cohen_kappa_score

NAMES = ("depth", "professionalism", "accuracy")


def _scored(path: Path, seed: int, count: int = 30, noise: float = 0.0) -> Path:
    truth, rng = random.Random(0), random.Random(seed)
    with path.open("w") as file:
        for i in range(count):
            sides: dict[str, dict[str, Any]] = {"chosen": {}, "rejected": {}}
            for levels in sides.values():
                for name in NAMES:
                    level = truth.randint(0, 4)
                    if rng.random() < noise:
                        level = min(4, max(0, level + rng.choice([-1, 1])))
                    levels[name] = None if noise and rng.random() < 0.1 else level
            row = {
                "id": f"r{i}",
                "chosen": "a",
                "rejected": "b",
                "metadata": {"prompt_id": f"g{i // 3}"},
                "scores": sides,
            }
            file.write(json.dumps(row) + "\n")
    return path


def _levels(path: Path, name: str) -> np.ndarray:
    rows = [json.loads(line) for line in path.open()]
    found = [row["scores"][side][name] for row in rows for side in ("chosen", "rejected")]
    return np.array([np.nan if level is None else float(level) for level in found])


def test_three_judges_equal_the_reference_packages(tmp_path: Path) -> None:
    files = [_scored(tmp_path / f"{seed}.jsonl", seed, noise=0.4) for seed in (1, 2, 3)]
    out = tmp_path / "agree.json"
    done = run("judge", "agree", *files, "--json", out, "--resamples", 200)
    assert done.code == 0, done.stderr
    report = json.loads(out.read_text())
    assert (report["units"], report["groups"]) == (60, 10)
    for name in NAMES:
        ratings = np.array([_levels(path, name) for path in files])
        found = report["dimensions"][name]
        expected = krippendorff.alpha(
            ratings, value_domain=list(range(5)), level_of_measurement="ordinal"
        )
        assert found["alpha"]["value"] == pytest.approx(expected, abs=1e-9)
        low, high = found["alpha"]["interval"]
        assert low < found["alpha"]["value"] < high
        both = ~np.isnan(ratings[0]) & ~np.isnan(ratings[1])
        first, second = ratings[0][both].astype(int), ratings[1][both].astype(int)
        pair = found["pairs"][0]
        assert pair["units"] == both.sum()
        assert pair["kappa"]["value"] == pytest.approx(
            cohen_kappa_score(first, second, weights="quadratic"), abs=1e-9
        )
        assert pair["exact"]["value"] == pytest.approx((first == second).mean())
        assert np.array(pair["confusion"]).sum() == both.sum()
        assert found["missing"][str(files[0])] == int(np.isnan(ratings[0]).sum())


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    a, b = _scored(tmp_path / "a", 1, noise=0.3), _scored(tmp_path / "b", 2, noise=0.3)
    first = run("judge", "agree", a, b, "--json", "-", "--resamples", 100).stdout
    assert first == run("judge", "agree", a, b, "--json", "-", "--resamples", 100).stdout
    assert json.loads(first)["version"] == 1


def test_files_are_matched_by_pair_and_not_by_line(tmp_path: Path) -> None:
    a = _scored(tmp_path / "a.jsonl", 1)
    lines = a.read_text().splitlines()
    b = tmp_path / "b.jsonl"
    b.write_text("\n".join(reversed(lines[:20])) + "\n")
    done = run("judge", "agree", a, b, "--json", "-", "--resamples", 100)
    found = json.loads(done.stdout)["dimensions"]["depth"]
    assert found["alpha"]["value"] == 1.0
    assert found["units"] == 40
    assert found["missing"][str(b)] == 20


def test_one_file_with_several_draws_is_compared_with_itself(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    with path.open("w") as file:
        for i in range(6):
            draws = {side: {"depth": [i % 5, i % 5]} for side in ("chosen", "rejected")}
            row = {
                "id": str(i),
                "chosen": "a",
                "rejected": "b",
                "scores": {
                    "chosen": {"depth": i % 5},
                    "rejected": {"depth": i % 5},
                    "judge": {"model": "m", "samples": 2, "levels": {"m": draws}},
                },
            }
            file.write(json.dumps(row) + "\n")
    report = json.loads(run("judge", "agree", path, "--json", "-").stdout)
    assert report["raters"] == ["m #1", "m #2"]
    assert report["dimensions"]["depth"]["alpha"]["value"] == 1.0
    assert report["dimensions"]["accuracy"]["alpha"]["value"] is None


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    a = _scored(tmp_path / "a.jsonl", 1)
    alone = run("judge", "agree", a)
    assert (alone.code, "one scoring only" in alone.stderr) == (2, True)
    other = tmp_path / "other.jsonl"
    other.write_text(a.read_text().replace('"id": "r', '"id": "x'))
    apart = run("judge", "agree", a, other)
    assert (apart.code, "no row that another file has" in apart.stderr) == (2, True)
    bare = tmp_path / "bare.jsonl"
    bare.write_text('{"chosen": "a", "rejected": "b"}\n')
    unscored = run("judge", "agree", a, bare)
    assert (unscored.code, "no scores" in unscored.stderr) == (2, True)
    high = tmp_path / "high.jsonl"
    high.write_text(a.read_text().replace('"depth": 4', '"depth": 5', 1))
    outside = run("judge", "agree", a, high)
    assert outside.code == 2
    assert "level 5 in scores." in outside.stderr
    assert "line 1" in outside.stderr or ", line" in outside.stderr


def test_real_scores_against_the_embedded_judge(real_data: Path, tmp_path: Path) -> None:
    given = real_data / "finreport_pairs_0to4.jsonl"
    scored = tmp_path / "scored.jsonl"
    assert run("judge", "score", given, "--out", scored).code == 2
    done = run("judge", "score", given, "--out", scored, "--overwrite-scores")
    assert done.code == 0, done.stderr
    report = json.loads(run("judge", "agree", given, scored, "--json", "-").stdout)
    assert report["dimensions"]["professionalism"]["pairs"][0]["kappa"]["value"] > 0.4
    assert report["dimensions"]["depth"]["pairs"][0]["kappa"]["value"] > 0.15
