"""A score is its text's alone: not of the batch, the order, the padding, nor of how many score."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import save_decoder, save_encoder

from reward_model import RewardScorer
from reward_model.model.batches import collate, pad_id
from reward_model.records import read_jsonl

SAME = 1e-5
WORDS = st.text(
    st.sampled_from("净利率升毛利 12.5%\n|abcXYZ因此,。")
    | st.characters(exclude_categories=["Cs"]),
    max_size=120,
)
ROWS = st.lists(st.tuples(WORDS, WORDS.filter(str.strip)), min_size=2, max_size=10)


@pytest.fixture(
    scope="module", params=["bert mean", "bert cls", "bert windows", "qwen2 last", "qwen2 mean"]
)
def scorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    kind, how = request.param.split()
    save = save_encoder if kind == "bert" else save_decoder
    reading = {"window": 24} if how == "windows" else {"pooling": how}
    folder = save(tmp_path_factory.mktemp("same") / "model", **reading)
    return RewardScorer.from_pretrained(folder, device="cpu")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, st.integers(40, 4000), st.randoms(use_true_random=False))
def test_any_batch_in_any_order(
    scorer: RewardScorer, rows: list[tuple[str, str]], budget: int, rng: Any
) -> None:
    order = list(range(len(rows)))
    rng.shuffle(order)
    scorer.batch_tokens = budget
    mixed = scorer.score_batch([rows[i][0] for i in order], [rows[i][1] for i in order])
    for place, i in enumerate(order):
        alone = scorer.score(*rows[i])
        for name, chances in alone.probabilities.items():
            assert mixed[place].probabilities[name] == pytest.approx(chances, abs=SAME)
        assert mixed[place].reward == pytest.approx(alone.reward, abs=SAME)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, st.integers(0, 60), st.randoms(use_true_random=False))
def test_any_padding_on_any_side(
    scorer: RewardScorer, rows: list[tuple[str, str]], extra: int, rng: Any
) -> None:
    """Each row padded left, right or on both sides, with any token, further than it has to be."""
    encoded = [scorer.encode(*row) for row in rows]
    alone = np.concatenate([scorer.probabilities([one]) for one in encoded])
    batch = collate(encoded, pad_id(scorer.tokenizer))
    count, width = batch["input_ids"].shape
    moved = {name: torch.zeros(count, width + extra, dtype=torch.long) for name in batch}
    # What stands under the padding must not matter.
    moved["input_ids"].fill_(rng.randrange(len(scorer.tokenizer)))
    for i, one in enumerate(encoded):
        size = len(one.input_ids)
        start = rng.randint(0, width + extra - size)
        for name, values in batch.items():
            moved[name][i, start : start + size] = values[i, :size]
    with torch.inference_mode():
        logits = scorer.model(**moved).logits
    assert logits is not None
    chances = torch.softmax(logits.double(), dim=-1).numpy()
    assert np.abs(chances - alone).max() < SAME


@pytest.mark.slow
def test_two_processes_score_what_one_scores(tmp_path: Path) -> None:
    """Every second row each, in processes with other numbers of threads."""
    model = save_encoder(tmp_path / "model")
    rows = [
        {"prompt": f"公司{i}", "response": f"净利率{i}.5%，毛利率改善。" * (i % 7 + 1)}
        for i in range(40)
    ]

    def start(name: str, part: list[dict[str, Any]], threads: int) -> subprocess.Popen[bytes]:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in part), "utf-8")
        command = [sys.executable, "-m", "reward_model", "score", model, path, "--out"]
        return subprocess.Popen(
            [*map(str, command), str(tmp_path / f"{name}.out.jsonl")],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stderr=subprocess.DEVNULL,
        )

    running = [start("even", rows[::2], 1), start("odd", rows[1::2], 2)]
    assert [process.wait(timeout=300) for process in running] == [0, 0]

    def rewards(name: str) -> list[float]:
        lines = read_jsonl(tmp_path / f"{name}.out.jsonl")
        return [line.value["reward_model"]["reward"] for line in lines]

    here = RewardScorer.from_pretrained(model, device="cpu")
    one = here.score_batch([row["prompt"] for row in rows], [row["response"] for row in rows])
    together = [0.0] * len(rows)
    together[::2], together[1::2] = rewards("even"), rewards("odd")
    assert together == pytest.approx([score.reward for score in one], abs=SAME)
    assert np.ptp(together) > 1e-3
