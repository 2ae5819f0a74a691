"""Centred rewards: mean 0 and standard deviation 1 on the reference texts, said everywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import save_encoder
from toy import write
from typer.testing import CliRunner

from reward_model import RewardScorer
from reward_model.cli.commands import app
from reward_model.records import UserError, read_jsonl
from reward_model.records.tables import parquet_rows
from reward_model.rlhf.environment import from_environment
from reward_model.rlhf.trl import MultiDimReward, dimension_rewards
from reward_model.rlhf.verl import _fields
from reward_model.score.ensemble import EnsembleScorer

REFERENCE = [
    {"question": "q", "response_a": "Margins rose by 3%.", "response_b": "bad " * 30},
    {"question": "p", "response_a": "Revenue fell.", "response_b": "", "winner": "tie"},
]


def invoke(*args: Any) -> Any:
    return CliRunner().invoke(app, [str(one) for one in args])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scale")
    model = save_encoder(folder / "model")
    texts = write(folder / "reference.jsonl", REFERENCE)
    done = invoke("calibrate", model, texts, "--rewards", "--json", folder / "scale.json")
    assert done.exit_code == 0, done.output
    return model


def test_rewards_are_centred_and_say_so(model: Path, tmp_path: Path) -> None:
    plain = RewardScorer.from_pretrained(model)
    texts = [("q", "Margins rose by 3%."), ("q", "bad " * 30), ("p", "Revenue fell.")]
    known = [score.reward or 0.0 for score in plain.score_batch(*zip(*texts, strict=True))]
    stored = json.loads((model / "reward_scale.json").read_text())
    assert (stored["texts"], stored["no_opinion"]) == (3, 1)
    assert stored["mean"] == pytest.approx(np.mean(known), abs=1e-6)
    assert stored["sd"] == pytest.approx(np.std(known, ddof=1), abs=1e-6)
    centred = RewardScorer.from_pretrained(model, centered=True)
    scores = centred.score_batch(*zip(*texts, strict=True))
    rewards = [score.reward for score in scores]
    assert (np.mean(rewards), np.std(rewards, ddof=1)) == pytest.approx((0, 1), abs=1e-4)
    assert [score.uncentered for score in scores] == pytest.approx(known, abs=1e-6)
    assert "uncentered" not in plain.score("q", "r").to_json()
    assert centred.score("q", "").reward is None

    path = write(tmp_path / "in.jsonl", [{"prompt": p, "response": r} for p, r in texts])
    for name in ("out.jsonl", "out.parquet"):
        done = invoke("score", model, path, "--out", tmp_path / name, "--centered")
        assert done.exit_code == 0, done.output
        config = json.loads((tmp_path / f"{name}.config.json").read_text())
        assert config["centered"]["mean"] == stored["mean"]
    lines = [line.value["reward_model"] for line in read_jsonl(tmp_path / "out.jsonl")]
    columns = [row["reward_model"] for row in parquet_rows(tmp_path / "out.parquet")]
    for found in (lines, columns):
        assert [one["reward"] for one in found] == pytest.approx(rewards, abs=1e-4)
        assert [one["uncentered"] for one in found] == pytest.approx(known, abs=1e-4)
    done = invoke("prefer", tmp_path / "out.jsonl", "--out", tmp_path / "prefs")
    assert done.exit_code == 0, done.output
    (row,) = (line.value for line in read_jsonl(tmp_path / "prefs" / "train.jsonl"))
    assert row["margin"] == pytest.approx(abs(known[0] - known[1]), abs=1e-4)
    assert "centred; 0." in invoke("score", model, "--response", "r", "--centered").output


def test_trainers_get_centred_rewards(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (expected,) = RewardScorer.from_pretrained(model, centered=True).score_batch(["q"], ["r"])
    assert MultiDimReward(model, centered=True)(["q"], ["r"]) == [
        pytest.approx(expected.reward, abs=1e-4)
    ]
    monkeypatch.setenv("REWARD_MODEL", str(model))
    monkeypatch.setenv("REWARD_MODEL_CENTERED", "1")
    (score,) = from_environment().source.scores(["q"], ["r"])
    assert _fields(score, tuple(score.levels), None, 0.0)["score"] == score.reward
    assert score.reward == pytest.approx(expected.reward, abs=1e-4)
    with pytest.raises(UserError, match="rewards that are not centred"):
        MultiDimReward(RewardScorer.from_pretrained(model), centered=True)(["q"], ["r"])


def test_a_server_centres_and_one_that_does_not_is_refused(model: Path) -> None:
    pytest.importorskip("aiohttp")
    pytest.importorskip("uvicorn")
    from serving import in_thread

    from reward_model.policy.rewards import read_rewards
    from reward_model.rlhf.client import RewardClient

    scorer = RewardScorer.from_pretrained(model, centered=True)
    expected = scorer.score("q", "r")
    with in_thread(scorer) as (served, _):
        score = RewardClient(served.url).score("q", "r")
        assert (score.reward, score.uncentered) == pytest.approx(
            (expected.reward, expected.uncentered), abs=1e-4
        )
        assert MultiDimReward(served.url, centered=True)(["q"], ["r"]) == [score.reward]
        assert score.centered == pytest.approx(expected.centered, abs=1e-4)
        (depth,) = dimension_rewards(served.url, ["depth"], centered=True)
        assert depth(["q"], ["r"]) == [pytest.approx((score.centered or {})["depth"])]
        with pytest.raises(UserError, match=r"risk 0\.5 and rewards that were centred already"):
            dimension_rewards(served.url, ["depth"], risk=0.5)[0](["q"], ["r"])
        with pytest.raises(UserError, match="weights or a risk that the stored mean"):
            RewardClient(served.url).score("q", "r", risk=0.5)
        # Beside another reward an empty answer needs a number: the lowest level's.
        both = [[place, f"{place}#depth"] for place in (served.url, str(model))]
        remote, local = (read_rewards(specs, centered=True).functions for specs in both)
        for one, other in zip(remote, local, strict=True):
            assert one(["q"], [""]) == pytest.approx(other(["q"], [""]))
            assert (one(["q"], [""])[0] or 0) < -0.5
    told = pytest.raises(UserError, match="start the server with --centered")
    with in_thread(RewardScorer.from_pretrained(model)) as (served, _), told:
        MultiDimReward(served.url, centered=True)(["q"], ["r"])


def test_dimensions_are_centred_each_by_its_own(model: Path) -> None:
    from reward_model.policy.rewards import read_rewards

    texts: Any = (["q", "q", "p"], ["Margins rose by 3%.", "bad " * 30, "Revenue fell."])
    rewards = dimension_rewards(model, centered=True)
    found = {one.dimension: one(*texts) for one in rewards}
    assert sorted(found) == ["accuracy", "depth", "professionalism"]
    for name, values in found.items():
        assert np.mean(values) == pytest.approx(0, abs=1e-4), name
        assert np.std(values, ddof=1) == pytest.approx(1, abs=1e-4), name
    plain = dimension_rewards(model, ["depth"])[0](*texts)
    assert all(0 <= (value or 0) <= 1 for value in plain)
    scores = RewardScorer.from_pretrained(model, centered=True).score_batch(*texts)
    fields = [_fields(score, tuple(found), None, 0.0) for score in scores]
    assert [one["depth"] for one in fields] == pytest.approx(found["depth"], abs=1e-4)
    # A policy: an empty answer earns what the lowest level does, not an average text's 0.
    whole, depth = read_rewards([str(model), f"{model}#depth"], centered=True).functions
    assert depth(*texts) == pytest.approx(found["depth"], abs=1e-4)
    (nothing,), (worst,) = whole(["q"], [""]), depth(["q"], [""])
    stored = json.loads((model / "reward_scale.json").read_text())
    assert nothing == pytest.approx(-stored["mean"] / stored["sd"])
    assert worst == pytest.approx(-stored["means"]["depth"] / stored["sds"]["depth"])
    with pytest.raises(UserError, match="--centered with functions alone"):
        read_rewards(["r.py:short"], centered=True)


def test_the_scale_of_several_models_is_of_what_they_say_together(
    model: Path, tmp_path: Path
) -> None:
    other = save_encoder(tmp_path / "other", seed=1)
    first = shutil.copytree(model, tmp_path / "first")
    texts = write(tmp_path / "reference.jsonl", REFERENCE)
    asked = [("q", "Margins rose by 3%."), ("q", "bad " * 30), ("p", "Revenue fell.")]
    for how in ("mean", "minimum"):
        done = invoke("calibrate", first, texts, "--rewards", "--with", other, "--how", how)
        assert done.exit_code == 0, done.output
        plain = EnsembleScorer.from_pretrained([other, first], how=how)
        before = plain.score_batch(*zip(*asked, strict=True))
        scorer = EnsembleScorer.from_pretrained([other, first], how=how, centered=True)
        scores = scorer.score_batch(*zip(*asked, strict=True))
        rewards = [score.reward for score in scores]
        assert (np.mean(rewards), np.std(rewards, ddof=1)) == pytest.approx((0, 1), abs=1e-4)
        assert [s.uncentered for s in scores] == pytest.approx([s.reward for s in before])
        apart = np.std([s.uncentered for s in scores], ddof=1)
        assert scores[0].spread == pytest.approx((before[0].spread or 0) / apart)
        assert MultiDimReward(scorer, centered=True)(["q"], ["bad " * 30]) == [
            pytest.approx(rewards[1], abs=1e-4)
        ]
    with pytest.raises(UserError, match="weights or a risk that the stored mean"):
        scorer.score("q", "r", risk=0.5)
    assert RewardScorer.from_pretrained(first, centered=True)  # its own scale is still of it
    rows = write(tmp_path / "in.jsonl", [{"prompt": p, "response": r} for p, r in asked])
    both = ("--with", other, "--how", "minimum", "--centered")
    done = invoke("score", first, rows, "--out", tmp_path / "out.parquet", *both)
    assert done.exit_code == 0, done.output
    (*_, last) = (row["reward_model"] for row in parquet_rows(tmp_path / "out.parquet"))
    assert last["reward"] == pytest.approx(rewards[2], abs=1e-4)
    assert last["centered"]["depth"] == pytest.approx((scores[2].centered or {})["depth"], abs=1e-4)
    third = save_encoder(tmp_path / "third", seed=2)
    wrong = invoke("serve", first, "--with", third, "--centered")
    assert "no reward_scale." in str(wrong.exception)
    assert f"calibrate {first} TEXTS --rewards --with {third}" in str(wrong.exception)


def test_without_a_stored_scale_it_is_one_sentence(model: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(model, tmp_path / "model")
    centred = RewardScorer.from_pretrained(bare, centered=True)
    with pytest.raises(UserError, match="centred rewards of several models"):
        EnsembleScorer([centred, centred])
    with pytest.raises(UserError, match="weights or a risk that the stored mean"):
        MultiDimReward(bare, weights={"depth": 1}, centered=True)
    with pytest.raises(UserError, match="weights or a risk that the stored mean"):
        dimension_rewards(bare, risk=0.5, centered=True)
    path = write(tmp_path / "in.jsonl", [{"response": "r"}])
    wrong = invoke("score", bare, path, "--out", tmp_path / "o.jsonl", "--centered", "--risk", 1)
    assert "weights or a risk that the stored mean" in str(wrong.exception)
    config = bare / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(UserError, match=r"reward_scale\.json: .* of another model"):
        RewardScorer.from_pretrained(bare, centered=True)
    (bare / "reward_scale.json").write_text("{}")
    with pytest.raises(UserError, match="no mean and standard deviation"):
        RewardScorer.from_pretrained(bare, centered=True)
    (bare / "reward_scale.json").unlink()
    out = tmp_path / "out.jsonl"
    for args in (("score", bare, path, "--out", out), ("score", bare, "--response", "r"),
                 ("serve", bare)):  # fmt: skip
        done = invoke(*args, "--centered")
        assert "no reward_scale.json" in str(done.exception), args
        assert f"reward-model calibrate {bare} TEXTS --rewards" in str(done.exception)
    assert not out.exists()
    with pytest.raises(UserError, match=r"no reward_scale\.json"):
        MultiDimReward(bare, centered=True)
    for rows, words in (
        ([{"response": "r"}], "1 responses with a reward; expected at least two"),
        ([{"response": "r"}] * 3, "the same reward for all 3 responses"),
        ([{"text": "r"}], "line 1: found keys text"),
    ):
        done = invoke("calibrate", bare, write(tmp_path / "t.jsonl", rows), "--rewards")
        assert words in str(done.exception)
    assert not (bare / "reward_scale.json").exists()
