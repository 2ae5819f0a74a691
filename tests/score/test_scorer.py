"""RewardScorer on tiny real models: an encoder, and a decoder whose padding is its end token."""

from __future__ import annotations

import copy
import math
import os
import pickle
import random
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import save_decoder, save_encoder

from reward_model import RewardScorer, Score, load_rubric
from reward_model.model.batches import token_batches
from reward_model.model.folder import load_bundle
from reward_model.records import Message, UserError

TEXTS = [
    "毛利率提升",
    "ok",
    "Margins rose on mix. " * 9,
    "x" * 700,
    "净利润 12.5 亿元，同比增长 8%。" * 3,
]


@pytest.fixture(scope="session", params=[save_encoder, save_decoder], ids=["encoder", "decoder"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    save: Callable[[Path], Path] = request.param
    return save(tmp_path_factory.mktemp("scorer") / "model")


@pytest.fixture(scope="session")
def scorer(folder: Path) -> RewardScorer:
    return RewardScorer.from_pretrained(folder, device="cpu")


def flat(scores: list[Score]) -> np.ndarray:
    return np.array([list(s.probabilities.values()) for s in scores])


def test_a_score_says_level_distribution_uncertainty_and_reward(scorer: RewardScorer) -> None:
    p = scorer.score("分析报告", "毛利率提升主要由产品结构驱动。")
    weights = load_rubric("financial_report").weights
    for name in ("depth", "professionalism", "accuracy"):
        chances = np.array(p.probabilities[name])
        assert len(chances) == 5
        assert chances.sum() == pytest.approx(1)
        assert p.levels[name] == pytest.approx(chances @ np.arange(5))
        assert p.predicted[name] == chances.argmax()
        spread = (chances @ (np.arange(5) - p.levels[name]) ** 2) ** 0.5
        assert p.uncertainty[name] == pytest.approx(spread)
    assert p.reward == pytest.approx(sum(weights[n] * p.levels[n] for n in weights) / 4)
    assert (p.prompt_truncated, p.response_truncated, p.reason) == (False, False, None)


def test_scores_do_not_depend_on_company_order_or_padding(folder: Path) -> None:
    """Alone, in any order, in any batch size: the same numbers."""
    rng = random.Random(0)
    prompts = [rng.choice(["", "Q?", "数据表" * 40]) for _ in range(24)]
    responses = [rng.choice(TEXTS)[: rng.randint(1, 400)] for _ in range(24)]
    wide = RewardScorer.from_pretrained(folder, batch_tokens=100_000)
    narrow = RewardScorer.from_pretrained(folder, batch_tokens=300)
    together = flat(wide.score_batch(prompts, responses))
    alone = flat([wide.score(p, r) for p, r in zip(prompts, responses, strict=True)])
    assert together == pytest.approx(alone, abs=1e-5)
    assert flat(narrow.score_batch(prompts, responses)) == pytest.approx(together, abs=1e-5)
    order = list(range(24))
    rng.shuffle(order)
    mixed = wide.score_batch([prompts[i] for i in order], [responses[i] for i in order])
    assert flat(mixed) == pytest.approx(together[order], abs=1e-5)
    assert np.ptp(together.reshape(24, -1), axis=0).max() > 0.05  # and they do differ by text


def test_identical_texts_go_through_the_model_once(scorer: RewardScorer) -> None:
    seen: list[int] = []
    handle = scorer.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["row"].pieces)), with_kwargs=True
    )
    try:
        scores = scorer.score_batch(["p"] * 40, ["same", "other"] * 20)
    finally:
        handle.remove()
    assert sum(seen) == 2
    assert scores[0] == scores[38]
    assert scores[0] != scores[1]


def test_the_cache_remembers_and_forgets_the_oldest(folder: Path) -> None:
    scorer = RewardScorer.from_pretrained(folder, cache_size=2)
    calls: list[int] = []
    scorer.model.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(len(kwargs["row"].pieces)), with_kwargs=True
    )
    first = scorer.score("", "a")
    scorer.score("", "b")
    assert scorer.score("", "a") == first
    assert len(calls) == 2
    scorer.score("", "c")  # "b" has been asked for least recently
    scorer.score("", "a")
    assert len(calls) == 3
    scorer.score("", "b")
    assert len(calls) == 4
    # Weights and risk are applied after the cache, and a caller cannot spoil what is in it.
    first.probabilities["depth"][0] = 9.0
    assert scorer.score("", "b", weights={"depth": 1}).reward == pytest.approx(
        scorer.score("", "b").levels["depth"] / 4
    )
    assert len(calls) == 4


@pytest.mark.parametrize("empty", ["", "  \n\t", [{"role": "assistant", "content": " "}]])
def test_an_empty_response_gets_no_opinion(scorer: RewardScorer, empty: str) -> None:
    p, other = scorer.score_batch(["q", "q"], [empty, "text"])
    assert p.reward is None
    assert p.levels == {}
    assert p.reason == "the response is empty"
    assert p.to_json()["reason"] == "the response is empty"
    assert other.reward is not None
    assert "reason" not in other.to_json()


@pytest.mark.parametrize("unseen", ["\u200b", "\ufeff \x00", "\u2028\u200d"])
def test_a_response_that_nobody_sees_gets_no_opinion(scorer: RewardScorer, unseen: str) -> None:
    p, other = scorer.score_batch(["q", "q"], [unseen, unseen + "text"])
    assert (p.reward, p.reason) == (None, "the response has no visible character")
    assert other.reward is not None


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "mps:7", "cpu:1", "meta"])
def test_a_device_that_is_not_there_is_told(folder: Path, device: str) -> None:
    for load in (RewardScorer.from_pretrained, lambda f, **d: RewardScorer(load_bundle(f), **d)):
        with pytest.raises(UserError, match=f"device '{device}'; expected one that .* has: cpu"):
            load(folder, device=device)


def test_half_a_character_gets_no_opinion_and_spoils_nothing(scorer: RewardScorer) -> None:
    bad, asked, good = scorer.score_batch(["q", "\udc00", "q"], ["a \ud800", "text", "text"])
    assert bad.reason == "the response is not valid Unicode: it holds half of a character"
    assert asked.reason == "the prompt is not valid Unicode: it holds half of a character"
    assert (bad.reward, asked.reward) == (None, None)
    assert good.reward == pytest.approx(scorer.score("q", "text").reward, abs=1e-6)


def test_truncation_is_flagged_and_the_response_is_kept_first(scorer: RewardScorer) -> None:
    long_prompt = scorer.score("数" * 5000, "short answer")
    assert (long_prompt.prompt_truncated, long_prompt.response_truncated) == (True, False)
    long_response = scorer.score("", "y" * 5000)
    assert (long_response.prompt_truncated, long_response.response_truncated) == (False, True)
    one, two = scorer.score_batch(["数" * 5000] * 2, ["good", "evil"])
    assert one.probabilities != two.probabilities


def test_weights_and_risk_for_a_scorer_or_for_a_call(folder: Path, scorer: RewardScorer) -> None:
    p = scorer.score("q", "text")
    only = scorer.score("q", "text", weights={"accuracy": 3})
    assert only.reward == pytest.approx(p.levels["accuracy"] / 4)
    mixed = scorer.score("q", "text", weights={"accuracy": 3, "depth": 1})
    assert mixed.reward == pytest.approx((3 * p.levels["accuracy"] + p.levels["depth"]) / 16)
    careful = scorer.score("q", "text", risk=0.5)
    expected = np.mean([max(0, p.levels[n] - 0.5 * p.uncertainty[n]) for n in p.levels]) / 4
    assert careful.reward == pytest.approx(expected)
    assert careful.levels == p.levels
    assert scorer.score("q", "text", risk=1e9).reward == 0.0
    always = RewardScorer.from_pretrained(folder, weights={"accuracy": 3}, risk=0.5)
    assert always.weights == {"depth": 0.0, "professionalism": 0.0, "accuracy": 1.0}
    low = max(0, p.levels["accuracy"] - 0.5 * p.uncertainty["accuracy"]) / 4
    assert always.score("q", "text").reward == pytest.approx(low)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"clarity": 1.0}, "dimensions of this model: depth, professionalism, accuracy"),
        ({"depth": -1.0}, "numbers from 0 up"),
        ({"depth": 0.0}, "at least one of them above 0"),
        ({"depth": float("nan")}, "numbers from 0 up"),
    ],
)
def test_weights_that_make_no_sense_are_refused(
    scorer: RewardScorer, weights: dict[str, float], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        scorer.score("q", "text", weights=weights)


def test_strings_and_chat_messages_of_any_kind(scorer: RewardScorer) -> None:
    plain = scorer.score("q", "text")
    dicts = scorer.score(
        [{"role": "user", "content": "q"}], [{"role": "assistant", "content": "text"}]
    )
    records = scorer.score((Message(role="user", content="q"),), "text")
    assert plain.probabilities == dicts.probabilities == records.probabilities


@pytest.mark.parametrize("wrong", [None, 3, [{"text": "x"}], ["x"]])
def test_what_is_no_text_is_refused_in_words(scorer: RewardScorer, wrong: object) -> None:
    with pytest.raises(UserError, match="expected a string or chat messages"):
        scorer.score("q", wrong)  # type: ignore[arg-type]


def test_lists_that_do_not_fit_are_refused(scorer: RewardScorer) -> None:
    with pytest.raises(UserError, match="2 prompts and 1 responses"):
        scorer.score_batch(["a", "b"], ["c"])
    with pytest.raises(UserError, match="use score"):
        scorer.score_batch("ab", "cd")
    assert scorer.score_batch([], []) == []
    with pytest.raises(UserError, match="risk -1"):
        scorer.score("q", "text", risk=-1)


def test_threads_share_one_scorer(folder: Path) -> None:
    scorer = RewardScorer.from_pretrained(folder, cache_size=8)
    texts = [f"report {i} " * (i % 7 + 1) for i in range(64)]
    alone = [scorer.score("q", text).reward for text in texts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda text: scorer.score("q", text).reward, texts * 2))
    assert together == pytest.approx(alone * 2, abs=1e-5)


def test_loading_and_scoring_leave_the_process_as_it_was(folder: Path) -> None:
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    random_state = torch.random.get_rng_state()
    scorer = RewardScorer.from_pretrained(folder)
    scorer.score("q", "text")
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)
    assert not scorer.model.training
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_a_missing_folder_a_file_and_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        RewardScorer.from_pretrained(tmp_path / "gone")
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(UserError, match="a file"):
        RewardScorer.from_pretrained(file)
    with pytest.raises(UserError, match=r"no config\.json"):
        RewardScorer.from_pretrained(tmp_path)


def test_weights_that_are_not_numbers_give_no_reward(tmp_path: Path) -> None:
    scorer = RewardScorer.from_pretrained(save_encoder(tmp_path / "model"))
    with torch.no_grad():
        scorer.model.heads[1].out.bias.fill_(float("nan"))
    p = scorer.score("q", "text")
    assert (p.reward, p.reason) == (None, "the model's output is not a number")


@given(
    st.dictionaries(st.integers(0, 500), st.integers(1, 3000), max_size=80), st.integers(1, 4000)
)
def test_batches_hold_every_row_once_within_the_budget(
    lengths: dict[int, int], budget: int
) -> None:
    batches = list(token_batches(lengths, budget))
    assert sorted(i for batch in batches for i in batch) == sorted(lengths)
    for batch in batches:
        width = max(lengths[i] for i in batch)
        assert len(batch) == 1 or width * len(batch) <= budget


def called(year: int) -> list[dict[str, object]]:
    """A conversation that differs from another in what a tool was asked alone."""
    call = {"id": "1", "function": {"name": "table", "arguments": {"year": year}}}
    return [
        {"role": "user", "content": "Margins?"},
        {"role": "assistant", "content": "Let me look at the tables.", "tool_calls": [call]},
        {"role": "tool", "content": "35.2%"},
        {"role": "assistant", "content": "The margin fell to 35.2%."},
    ]


def test_texts_that_differ_in_what_is_read_are_no_copies(scorer: RewardScorer) -> None:
    whole, halves = "Margins rose \U0001f600", "Margins rose \ud83d\ude00"
    for texts in ([whole, halves], [halves, whole]):
        by_text = dict(zip(texts, scorer.score_batch(["", ""], texts), strict=True))
        assert by_text[whole].reward is not None
        assert by_text[halves].reward is None
    asked = called(2023)[:2]
    for years in ((2023, 2024), (2024, 2023)):
        together = scorer.score_batch([asked] * 2, [called(year) for year in years])
        alone = [scorer.score(asked, called(year)) for year in years]
        np.testing.assert_allclose(flat(together), flat(alone), atol=1e-5)
    given = ["Checked figures: 9 verified", None, ""]
    for order in ([0, 1, 2], [2, 1, 0]):
        evidence = [given[i] for i in order]
        together = scorer.score_batch(["p"] * 3, ["m 3%"] * 3, evidence=evidence)
        alone = [scorer.score_batch(["p"], ["m 3%"], evidence=[one])[0] for one in evidence]
        np.testing.assert_allclose(flat(together), flat(alone), atol=1e-5)


def test_a_trainers_autocast_and_defaults_move_no_score(folder: Path) -> None:
    scorer = RewardScorer.from_pretrained(folder, device="cpu")
    texts = [f"Revenue rose by {i}%." for i in range(20)]
    own = flat(scorer.score_batch([""] * 20, texts))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(flat(scorer.score_batch([""] * 20, texts)), own)
        alone = [scorer.score("", text) for text in texts]
    np.testing.assert_allclose(flat(alone), own, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"risk": "0.5"}, "risk '0.5'; expected a number from 0 up"),
        ({"risk": [0.5]}, "risk"),
        ({"risk": math.nan}, "risk nan"),
        ({"weights": ["depth"]}, "weights"),
        ({"weights": {"depth": "2"}}, "weight of depth '2'"),
        ({"weights": {"depth": None}}, "weight of depth None"),
        ({"evidence": []}, "evidence that is no list of 1"),
        ({"evidence": "x"}, "evidence"),
        ({"evidence": [3]}, "evidence"),
        ({"evidence": ["\ud800"]}, "evidence"),
    ],
)
def test_terms_as_configuration_files_have_them_are_refused(
    scorer: RewardScorer, wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        scorer.score_batch(["p"], ["Up."], **wrong)


def test_numbers_of_any_library_are_numbers(scorer: RewardScorer) -> None:
    own = scorer.score("p", "Up.", weights={"depth": 1.0}, risk=0.5)
    for half in (np.float32(0.5), torch.tensor(0.5), Fraction(1, 2)):
        same = scorer.score("p", "Up.", weights={"depth": np.int64(1)}, risk=half)  # type: ignore[dict-item, arg-type]
        assert same.reward == own.reward


@pytest.mark.parametrize("wrong", [{"a": "b"}, {"a"}, b"ab", None, 3])
def test_what_is_no_list_of_texts_is_refused(scorer: RewardScorer, wrong: Any) -> None:
    with pytest.raises(UserError, match="expected two lists"):
        scorer.score_batch(wrong, ["Up."])
    with pytest.raises(UserError, match=r"nan as a response.*\(number 2 of 3\)"):
        scorer.score_batch(["p"] * 3, iter(["a", math.nan, "b"]))  # type: ignore[arg-type, list-item]


def test_a_loaded_scorer_says_how_to_send_it(scorer: RewardScorer) -> None:
    for leave in (pickle.dumps, copy.deepcopy):
        with pytest.raises(UserError, match="send the path"):
            leave(scorer)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_waits_for_no_thread_of_its_parent(folder: Path) -> None:
    """A trainer's data loader forks while another thread scores."""
    program = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")  # Python says that forking beside threads may lock: that is asked
from reward_model.score.scorer import RewardScorer
scorer = RewardScorer.from_pretrained(sys.argv[1], device="cpu")
scorer._tokenizer_lock.__enter__()
held = threading.Thread(target=scorer.score, args=("", "Up."), daemon=True)
held.start()
child = os.fork()
if not child:
    print(len(scorer.encode("", "Up.").input_ids), flush=True)
    os._exit(0)
os.waitpid(child, 0)
os._exit(0)
"""
    said = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=120
    )
    assert int(said.stdout) > 0, said.stderr


@pytest.mark.parametrize("wrong", [None, b"x", 3, ["a"], ""])
def test_what_is_no_name_of_a_model_is_refused(wrong: Any) -> None:
    with pytest.raises(UserError, match="as a model"):
        RewardScorer.from_pretrained(wrong)


def test_settings_of_loading_are_looked_at(folder: Path) -> None:
    for settings, words in (
        ({"dtype": "bf16"}, "dtype 'bf16'"),
        ({"dtype": torch.int8}, "dtype torch.int8"),
        ({"device": {"": 0}}, "device"),
        ({"risk": "0.5"}, "risk '0.5'"),
        ({"abstain": "x"}, "abstain 'x'"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            RewardScorer.from_pretrained(folder, **settings)  # type: ignore[arg-type]
    scorer = RewardScorer.from_pretrained(folder, risk=None)  # type: ignore[arg-type]
    assert scorer.score("", "Up.").reward is not None
