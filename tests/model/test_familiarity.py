"""How familiar a text is: measured at the end of training, told with every score, acted on."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from tiny_models import save_encoder

from reward_model.model.familiarity import FILE, Familiarity, fit, load
from reward_model.model.folder import first_model_digest, load_bundle, model_digest
from reward_model.records import UserError, read_jsonl
from reward_model.rlhf.trl import MultiDimReward
from reward_model.rubrics import load_rubric
from reward_model.score.ensemble import EnsembleScorer
from reward_model.score.files.run import score_file
from reward_model.score.scorer import RewardScorer, Score
from reward_model.train.config import resolve
from reward_model.train.run import train

RUBRIC = load_rubric("financial_report")
FLAGS = {"base_model": "tiny", "max_length": 64, "epochs": 2, "eval_share": 0.5,
         "center_rewards": True}  # fmt: skip


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    scored = toy.write(out / "scored.jsonl", toy.pairs(RUBRIC, 120, groups=24))
    return train(resolve(scored, out / "run", None, FLAGS))


def words(seed: int, count: int) -> list[str]:
    return [row[side] for row in toy.pairs(RUBRIC, count, seed) for side in ("chosen", "rejected")]


def strange(count: int) -> list[str]:
    rng = random.Random(1)
    return [" ".join(rng.choices("zqxjkv", k=30)) for _ in range(count)]


def test_the_distance_is_mahalanobis_with_a_shrunk_covariance() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + 3).astype(np.float32)
    held_out = x[:20] + 1
    found = fit(x, held_out, [[1]] * 60, [[1]] * 20)
    spread = x.astype(np.float64).std(0)
    inverse = np.linalg.inv(LedoitWolf().fit(x / spread).covariance_)
    theirs = [mahalanobis(v / spread, x.mean(0) / spread, inverse) for v in held_out]
    assert found.distances(held_out) == pytest.approx(theirs, rel=1e-3)
    assert found.tail == pytest.approx(sorted(theirs), rel=1e-3)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.floats(0.01, 200))
def test_familiarity_counts_those_at_least_as_far(tail: list[float], at: float) -> None:
    unit = np.eye(1, dtype=np.float32)
    known = Familiarity(unit[0] * 0, unit, np.sort(np.array(tail, np.float32)))
    value = float(known.of(np.array([[at]], np.float32), np.zeros((1, 2)))[0])
    nearly = [sum(d >= at * (1 - off) for d in tail) for off in (0.0, 3e-3)]
    low, high = ((k + 1) / (len(tail) + 1) for k in nearly)
    assert low <= value <= high
    assert known.least <= value <= 1


def test_texts_of_another_kind_are_less_familiar_than_held_out_ones(best: Path) -> None:
    scorer = RewardScorer.from_pretrained(best)
    like, unlike = words(9, 30), strange(30)
    scores = scorer.score_batch([""] * 90, like + unlike)
    values = np.array([score.familiarity for score in scores])
    assert ((values > 0) & (values <= 1)).all()
    assert np.mean(values[:60]) > 0.3
    assert np.median(values[60:]) < 0.03
    again = scorer.score("", like[0])
    assert again.familiarity == scores[0].familiarity  # whatever else is in the batch
    assert again.to_json()["familiarity"] == again.familiarity


def test_repeated_and_never_seen_phrases_are_strange_whatever_the_vector(best: Path) -> None:
    scorer = RewardScorer.from_pretrained(best)
    known = scorer._familiarity
    assert known is not None
    like = words(9, 15)
    again = ["\n".join([text] * 3) for text in like]  # a mean over tokens is what it was
    ordinary = scorer.score_batch([""] * 30, like)
    assert np.mean([score.familiarity for score in ordinary]) > 0.3
    # No vector is far now: what is left is what the tokens say.
    scorer._familiarity = replace(known, whiten=0 * known.whiten)
    prompts = ["", "What was asked of the writer, in so many words."] * 15
    own, values, backwards = (
        [score.familiarity or 0.0 for score in scorer.score_batch(prompts, texts)]
        for texts in (like, again, [text[::-1] for text in like])
    )
    assert np.mean(own) > 0.3
    assert np.median(values) == known.least
    assert np.median(backwards) == known.least
    assert values[3] == scorer.score(prompts[3], again[3]).familiarity
    # A folder from before holds distances alone: it tells what it told.
    before = Familiarity(known.middle, known.whiten, known.tail)
    vectors = known.middle[None]
    assert before.of(vectors, np.array([[0.9, 0.9]])) == 1
    assert known.of(vectors, np.array([[0.9, 0.0]])) == known.least
    assert known.of(vectors, np.array([[0.0, 0.9]])) == known.least


def test_familiarity_of_far_repeated_and_new_texts_is_one_scale() -> None:
    rng = np.random.default_rng(0)
    train, held_out, fresh = (rng.normal(size=(n, 4)).astype(np.float32) for n in (500, 400, 4000))
    ids, valid, new = (rng.geometric(0.1, (n, 60)).tolist() for n in (50, 400, 4000))
    known = fit(train, held_out, ids, valid)
    said = known.read(new)
    values = known.of(fresh, said)
    for share in (0.01, 0.05, 0.2, 0.5):
        assert np.mean(values <= share) == pytest.approx(share, abs=0.02 + share / 5)
    still = np.repeat(fresh[:1], len(new), axis=0)
    for column in (0, 1):
        only = np.zeros_like(said)
        only[:, column] = np.sort(said[:, column])
        assert (np.diff(known.of(still, only)) <= 0).all()
    # A stock phrase more is not strange, even where no validation text repeats anything.
    once = fit(train, held_out, [list(range(500))], [list(range(i, i + 90)) for i in range(400)])
    middle = np.zeros((3, 4), np.float32)
    some, half, most = once.of(middle, np.array([[0.05, 0], [0.5, 0], [0, 0.9]])).tolist()
    assert some > 0.2
    assert half == most == once.least


def test_a_model_from_before_reads_and_scores_as_it_did(best: Path, tmp_path: Path) -> None:
    older = shutil.copytree(best, tmp_path / "older")
    (older / FILE).unlink()
    now, then = (RewardScorer.from_pretrained(p).score("", "because") for p in (best, older))
    assert then.familiarity is None
    assert "familiarity" not in then.to_json()
    assert then.reward == now.reward
    assert model_digest(older) != model_digest(best)
    whole = save_encoder(tmp_path / "encoder")
    assert load_bundle(whole).familiarity is None
    assert model_digest(whole) == model_digest(shutil.copytree(whole, tmp_path / "copy"))
    assert first_model_digest(whole)
    with pytest.raises(UserError, match="a model that knows no familiarity"):
        RewardScorer.from_pretrained(older, abstain=0.05)


def test_what_is_unfamiliar_gets_no_opinion_at_every_door(best: Path, tmp_path: Path) -> None:
    texts = [words(9, 1)[0], strange(1)[0]]
    scorer = RewardScorer.from_pretrained(best, abstain=0.05)
    told, silent = scorer.score_batch([""] * 2, texts)
    assert told.reward is not None
    assert silent == Score(
        None,
        reason="unlike the training texts: familiarity below 0.05",
        familiarity=silent.familiarity,
    )
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"prompt": "", "response": t}) + "\n" for t in texts))
    for name in ("out.jsonl", "out.parquet"):
        summary = score_file(best, file, tmp_path / name, abstain=0.05)
        assert summary.no_opinion == {silent.reason: 1}
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows[0]["reward_model"]["familiarity"] == round(told.familiarity or 0, 6)
    assert rows[1]["reward_model"]["reward"] is None
    with pytest.raises(UserError, match="scores with another abstain"):
        score_file(best, file, tmp_path / "out.jsonl")
    import pyarrow.parquet as parquet

    kept = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert kept[1]["reward_model"]["familiarity"] == rows[1]["reward_model"]["familiarity"]
    done = run("reward-model", "score", best, "--response", texts[1], "--abstain", 0.05)
    assert "no reward: unlike the training texts" in done.stderr
    metrics: dict[str, Any] = {}
    reward = MultiDimReward(best, abstain=0.05, no_opinion=0.0)
    assert reward(["", ""], texts, log_metric=metrics.__setitem__) == [told.reward, 0.0]
    known = [told.familiarity or 0, silent.familiarity or 0]
    assert metrics["multidim/familiarity"] == pytest.approx(sum(known) / 2)
    assert metrics["multidim/no_opinion"] == 0.5


def test_an_ensemble_knows_a_text_as_little_as_the_member_that_knows_it_least(best: Path) -> None:
    members = [RewardScorer.from_pretrained(best) for _ in range(2)]
    other = members[1]._familiarity
    assert other is not None
    members[1]._familiarity = replace(other, tail=other.tail / 2, phrases=None)
    text = words(9, 1)[0]
    own = [member.score("", text).familiarity or 0 for member in members]
    assert own[1] < own[0]
    assert EnsembleScorer(members).score("", text).familiarity == own[1]


def test_what_cannot_be_meant_is_said(best: Path, tmp_path: Path) -> None:
    for abstain, words_ in ((0.0, "abstain 0.0"), (1.0, "abstain 1.0")):
        with pytest.raises(UserError, match=words_):
            RewardScorer.from_pretrained(best, abstain=abstain)
    with pytest.raises(UserError, match=r"abstain 0.001, and a model validated on \d+ texts"):
        RewardScorer.from_pretrained(best, abstain=0.001)
    done = run("reward-model", "score", best, "--response", "x", "--abstain", "2")
    assert (done.code, "Traceback" in done.stderr) == (2, False)
    broken = shutil.copytree(best, tmp_path / "broken")
    (broken / FILE).write_bytes(b"torn")
    with pytest.raises(UserError, match="a file that cannot be read"):
        load_bundle(broken)
    held = load_file(best / FILE)
    for part in ({"said": held["said"][1:]}, {"seen": held["seen"][1:]}):
        (broken / FILE).write_bytes(save({**held, **part}))
        with pytest.raises(UserError, match=r"phrases of \d+ texts, and distances of \d+"):
            load_bundle(broken)
    older = {name: held[name] for name in ("middle", "whiten", "tail")}
    (broken / FILE).write_bytes(save(older))
    kept = load_bundle(broken).familiarity
    assert kept is not None
    assert kept.phrases is None
    with pytest.raises(UserError, match="vectors of 256 numbers, and a model of 64"):
        load(best, 64)


def test_training_stores_where_the_rewards_of_its_validation_texts_lie(
    best: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder = best.parent
    held_out = json.loads((run_folder / "split.json").read_text())["groups"]["validation"]
    rows = [line.value for line in read_jsonl(run_folder.parent / "scored.jsonl")]
    kept = [row for row in rows if row["metadata"]["prompt_id"] in held_out]
    texts = [(row["prompt"], row[side]) for row in kept for side in ("chosen", "rejected")]
    scorer = RewardScorer.from_pretrained(best, centered=True)
    scores = scorer.score_batch(*zip(*texts, strict=True))
    for values in zip(*((s.reward, *(s.centered or {}).values()) for s in scores), strict=True):
        assert (np.mean(values), np.std(values, ddof=1)) == pytest.approx((0, 1), abs=1e-3)
    scale = best / "reward_scale.json"
    kept_scale = scale.read_bytes()
    try:
        scale.unlink()
        train(resolve(run_folder.parent / "scored.jsonl", run_folder, None, FLAGS))
        told = " ".join(capsys.readouterr().err.split())
        assert "to centre its rewards: reward-model calibrate" in told
    finally:
        scale.write_bytes(kept_scale)
