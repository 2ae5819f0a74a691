"""Numbers of policies against transformers, scipy and plain counting."""

from __future__ import annotations

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import run
from page_text import english_left
from tiny_models import save_decoder
from tiny_policies import save_policy
from toy import write
from transformers import AutoModelForCausalLM

from reward_model.policy.base import find_policy, open_policy
from reward_model.policy.chat import chat
from reward_model.policy.evaluation.answers import best_of_n, compare, describe, draw
from reward_model.policy.evaluation.measure import (
    answer_logps,
    at_equal_length,
    best_of,
    ids_logps,
    kl,
)
from reward_model.policy.evaluation.numbers import Numbers, Told
from reward_model.policy.evaluation.page import page as policies_page
from reward_model.policy.evaluation.problems import problems
from reward_model.policy.generate import Manner, answers
from reward_model.policy.rows import PolicyRow, read_rows
from reward_model.records import UserError
from reward_model.rlhf.source import RewardSource
from reward_model.score.scorer import Score
from reward_model.stats.bootstrap import Estimate

PAIRS = [
    {
        "prompt": f"say {i} please",
        "chosen": f"yes number {i}",
        "rejected": f"no {'x' * (i % 5)}",
        "metadata": {"bias_type": ("gender", "region")[i % 2]},
    }
    for i in range(16)
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    save_policy(folder / "base")
    save_policy(folder / "tuned", seed=1)
    save_decoder(folder / "reward")
    write(folder / "pairs.jsonl", PAIRS)
    return folder


def direct(model: Any, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """Log-probabilities (A, V) at the places of an answer, by transformers alone."""
    ids = torch.tensor([prompt + answer])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0]
    return logits[len(prompt) - 1 : -1].double().log_softmax(-1)


def test_held_out_pairs_against_transformers(world: Path, tmp_path: Path) -> None:
    said = run(
        "reward-model", "policy", "evaluate", world / "tuned", "--data", world / "pairs.jsonl",
        "--reference", world / "base", "--skip", "samples", "--by", "metadata.bias_type",
        "--json", tmp_path / "out.json", "--html", tmp_path / "out.html",
    )  # fmt: skip
    assert said.code == 0, said.stderr
    found = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert found.keys() == {"tuned", "base"}
    own = found["tuned"]
    policy = open_policy(find_policy(str(world / "tuned")), device="cpu")
    rows = read_rows(world / "pairs.jsonl", "pairs").rows
    models = {n: AutoModelForCausalLM.from_pretrained(world / n).eval() for n in ("tuned", "base")}
    sums: dict[str, dict[str, list[float]]] = {n: {"chosen": [], "rejected": []} for n in models}
    tokens: dict[str, list[int]] = {"chosen": [], "rejected": []}
    for side in ("chosen", "rejected"):
        for row in rows:
            ((prompt, answer),) = policy.frame.pair_ids([row.prompt], [getattr(row, side)])
            tokens[side].append(len(answer))
            for name, model in models.items():
                picked = direct(model, prompt, answer).gather(1, torch.tensor(answer)[:, None])
                sums[name][side].append(float(picked.sum()))
    good, bad = (np.array(sums["tuned"][s]) for s in ("chosen", "rejected"))
    good_base, bad_base = (np.array(sums["base"][s]) for s in ("chosen", "rejected"))
    lengths = {side: np.array(tokens[side]) for side in tokens}
    loss = -good.sum() / lengths["chosen"].sum()
    right = -good / lengths["chosen"] < -bad / lengths["rejected"]
    expected = {
        "test_loss": loss,
        "perplexity": np.exp(loss),
        "preference_accuracy": right.mean(),
        "preference_correct": right.sum(),
        "preference_total": 16,
        "preference_ties": 0,
        "avg_chosen_loss": (-good / lengths["chosen"]).mean(),
        "avg_rejected_loss": (-bad / lengths["rejected"]).mean(),
        "loss_margin": (-bad / lengths["rejected"] + good / lengths["chosen"]).mean(),
        "chosen_change": ((good - good_base) / lengths["chosen"]).mean(),
        "implicit_accuracy": ((good - good_base) > (bad - bad_base)).mean(),
        "implicit_margin": ((good - good_base) - (bad - bad_base)).mean(),
    }
    for name, value in expected.items():
        assert own[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    assert own["intervals"]["preference_accuracy"]["n"] == 16
    assert own["intervals"]["test_loss"]["low"] < own["test_loss"]
    parts = own["slices"]["metadata.bias_type"]
    assert {v["preference_total"] for v in parts.values()} == {8}
    assert sum(v["preference_correct"] for v in parts.values()) == right.sum()
    assert "tuned is better than its reference: " in said.stderr
    table = said.stderr[said.stderr.index("pairs right") :]
    assert "…" not in table
    text = (tmp_path / "out.html").read_text()
    assert "tuned" in text
    assert text.index('class="verdict"') < text.index('id="know"')
    whole = json.loads((tmp_path / "out.json").read_text())
    assert not english_left(
        policies_page(whole, "zh"), "tuned", "base", "metadata.bias_type", "sft"
    )


def test_kl_along_samples_is_exact_at_every_place(world: Path) -> None:
    one, other = (open_policy(find_policy(str(world / n)), device="cpu") for n in ("tuned", "base"))
    prompts = one.frame.prompt_ids(["say 1", "say something longer please"])
    said = answers(one, prompts, Manner(2, 12, seed=3))
    pairs = [(p, a.ids) for p, each in zip(prompts, said, strict=True) for a in each]
    expected = []
    for prompt, answer in pairs:
        ours, theirs = (direct(p.model, prompt, answer) for p in (one, other))
        expected.append(float((ours.exp() * (ours - theirs)).sum()))
    np.testing.assert_allclose(kl(one, other, pairs), expected, rtol=1e-5, atol=1e-5)
    assert kl(one, one, pairs) == pytest.approx([0] * 4, abs=1e-5)


def test_virtual_tokens_measure_and_answer_as_peft_does(world: Path, tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(world / "base").eval()
    tuned = get_peft_model(base, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    torch.nn.init.normal_(tuned.prompt_encoder["default"].embedding.weight, std=0.3)
    tuned.save_pretrained(tmp_path / "adapter")
    tuned.eval()
    policy = open_policy(find_policy(str(tmp_path / "adapter")), device="cpu")
    rows = [PolicyRow("short", "yes"), PolicyRow("a longer prompt", "no, not at all")]
    pairs = policy.frame.pair_ids([r.prompt for r in rows], [r.chosen for r in rows])
    expected = []
    for prompt, answer in pairs:
        with torch.no_grad():
            logits = tuned(input_ids=torch.tensor([prompt + answer])).logits[0, 3:]
        logps = logits[len(prompt) - 1 : -1].double().log_softmax(-1)
        expected.append(float(logps.gather(1, torch.tensor(answer)[:, None]).sum()))
    found = answer_logps(policy, rows, [r.chosen for r in rows])
    np.testing.assert_allclose(found.sums, expected, rtol=1e-5)
    np.testing.assert_allclose(ids_logps(policy, pairs).sums, expected, rtol=1e-5)
    greedy = Manner(1, 6, temperature=0)
    together = answers(policy, [p for p, _ in pairs], greedy)
    alone = [answers(policy, [p], greedy)[0] for p, _ in pairs]
    assert [t[0].ids for t in together] == [a[0].ids for a in alone]
    with torch.no_grad():
        first = tuned(input_ids=torch.tensor([pairs[0][0]])).logits[0, -1].argmax()
    assert alone[0][0].ids[0] == int(first)


def test_best_of_n_is_the_mean_over_all_subsets() -> None:
    rewards = np.array([0.3, 0.9, 0.1, 0.5, 0.7])
    for n in range(1, 6):
        every = [max(c) for c in itertools.combinations(rewards, n)]
        assert best_of(rewards, n) == pytest.approx(np.mean(every), abs=1e-12)


def test_equal_length_is_the_logistic_fit() -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    more = rng.normal(5, 20, 400)
    won = (rng.random(400) < 1 / (1 + np.exp(-(0.4 + 0.05 * more)))).astype(float)
    scaled = (more / more.std())[:, None]
    # The same pull: 1e-3 / 2 of a mean is a C of 1 / (1e-3 N), on the constant as well.
    both = np.hstack([np.ones((400, 1)), scaled])
    fit = LogisticRegression(C=1 / (1e-3 * 400), fit_intercept=False, tol=1e-10).fit(both, won)
    found = at_equal_length(won, more)
    assert found == pytest.approx(1 / (1 + np.exp(-fit.coef_[0, 0])), abs=1e-5)


class Length:
    """A reward that likes letters, or the letter e."""

    def __init__(self, letter: str = "") -> None:
        self.letter = letter

    def score_batch(self, prompts: Any, responses: Any, **_: Any) -> list[Score]:
        return [self._score(str(r)) for r in responses]

    def _score(self, text: str) -> Score:
        share = min(1.0, (text.count(self.letter) if self.letter else len(text)) / 40)
        return Score(share, {"depth": 4 * share}, {"depth": [0.2] * 5}, {}, {"depth": 0.5})


def test_samples_are_counted_with_ties_apart(world: Path) -> None:
    one, other = (open_policy(find_policy(str(world / n)), device="cpu") for n in ("tuned", "base"))
    rows = [PolicyRow(f"say {i}", group=str(i)) for i in range(7)]
    rewards = {"reward": RewardSource(scorer=Length()), "gold": RewardSource(scorer=Length("e"))}
    manner = Manner(3, 10)
    own, before = draw(one, rows, manner, rewards), draw(other, rows, manner, rewards)
    told, pick = Told(), np.arange(21)
    numbers = Numbers(own.groups)
    describe(own, told, numbers, pick)
    compare(own, before, told, numbers, pick, None)
    lengths = [[len(a.text) for a in s.flat] for s in (own, before)]
    ahead = [a > b for a, b in zip(*lengths, strict=True)]
    equal = [a == b for a, b in zip(*lengths, strict=True)]
    scores = [own.rewards("reward"), before.rewards("reward")]
    known = ~(np.isnan(scores[0]) | np.isnan(scores[1]))
    assert told.values["win_rate"] == pytest.approx(np.mean(np.array(ahead)[known]), abs=1e-9)
    assert told.values["tie_rate"] == pytest.approx(np.mean(np.array(equal)[known]), abs=1e-9)
    rates = [told.values[n] for n in ("win_rate", "tie_rate", "loss_rate")]
    assert sum(rates) == pytest.approx(1, abs=1e-9)
    assert told.values["reward"] == pytest.approx(np.nanmean(scores[0]), abs=1e-9)
    curve = best_of_n(before)
    assert [p["n"] for p in curve] == [1, 2, 3]
    assert curve[0]["reward"] == pytest.approx(np.nan_to_num(scores[1]).mean(), abs=1e-9)
    assert curve[2]["reward"] >= curve[1]["reward"] >= curve[0]["reward"]


def told_of(
    own: tuple[float, float], gold: tuple[float, float], **more: Any
) -> dict[str, Estimate]:
    found = {
        "reward_change": Estimate(np.mean(own), 99, *own),
        "gold_change": Estimate(np.mean(gold), 99, *gold),
        "reward_less_gold": Estimate(0.1, 99, own[0] - gold[1], own[1] - gold[0]),
    }
    return found | {k: Estimate(float(np.mean(v)), 99, *v) for k, v in more.items()}


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (told_of((0.2, 0.3), (0.1, 0.3)), []),
        (told_of((0.2, 0.3), (-0.1, 0.1)), ["hacked"]),
        (told_of((0.2, 0.3), (-0.1, 0.25)), []),
        (told_of((-0.2, 0.3), (-0.2, -0.1)), []),
        (
            told_of((0.1, 0.2), (0.1, 0.2), **{"dimension_change/depth": (-2, -1)}),
            ["dimension_fell"],
        ),
        (told_of((0.1, 0.2), (0.1, 0.2), length_ratio=(1.3, 2)), ["longer"]),
        (
            told_of(
                (0.1, 0.2), (0.1, 0.2), length_ratio=(1.3, 2), win_rate_equal_length=(0.6, 0.9)
            ),
            [],
        ),
        (told_of((0.1, 0.2), (0.1, 0.2), kl=(25, 30)), ["drifted"]),
        (told_of((0.1, 0.2), (0.1, 0.2), kl=(15, 30)), []),
        (told_of((0.1, 0.2), (0.1, 0.2), distinct_ratio=(0.1, 0.5)), ["collapsed"]),
        (told_of((0.1, 0.2), (0.1, 0.2), uncertainty_ratio=(1.3, 1.5)), ["unsure"]),
    ],
)
def test_a_problem_needs_its_whole_interval(found: Any, names: list[str]) -> None:
    assert [p["problem"] for p in problems(found, 30, max_kl=20)] == names
    assert problems(found, 5, max_kl=20) == []


def test_samples_of_a_stopped_run_are_those_of_an_unbroken_one(world: Path, tmp_path: Path) -> None:
    prompts = write(tmp_path / "prompts.jsonl", [{"prompt": "x" * (i % 9 + 1)} for i in range(30)])
    flags = ["--n", "2", "--max-new-tokens", "6", "--device", "cpu"]
    out, again = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    said = run("reward-model", "policy", "sample", world / "base", prompts, "--out", out, *flags)
    assert said.code == 0, said.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 9  # each prompt once
    assert all(len(row["completions"]) == 2 for row in rows)
    assert rows[0]["metadata"].keys() >= {"policy", "finished", "tokens", "temperature", "seed"}
    # The parts of a run that was stopped after one block, its next line torn.
    policy = open_policy(find_policy(str(world / "base")), device="cpu")
    from reward_model.policy.generate import answer_blocks

    made = json.loads((tmp_path / "a.jsonl.config.json").read_text())
    ids = policy.frame.prompt_ids([row["prompt"] for row in rows])
    block = next(answer_blocks(policy, ids, Manner(2, 6)))
    kept = [{"made": made}, {"block": [[i, [a._asdict() for a in s]] for i, s in block]}]
    parts = tmp_path / "b.jsonl.parts.jsonl"
    parts.write_text("".join(json.dumps(k) + "\n" for k in kept) + '{"blo')
    said = run("reward-model", "policy", "sample", world / "base", prompts, "--out", again, *flags)
    assert said.code == 0, said.stderr
    assert again.read_bytes() == out.read_bytes()
    assert not parts.exists()
    other = run("reward-model", "policy", "sample", world / "base", prompts, "--out", out,
                *flags, "--seed", "9")  # fmt: skip
    assert other.code == 2
    assert "other seed" in other.stderr


def test_chat_shows_what_the_reward_thinks(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = iter(["hello", "\udcff", "word " * 1000, "/new", "again", ""])
    chat(
        str(world / "base"),
        reward=str(world / "reward"),
        manner=Manner(1, 6),
        device="cpu",
        ask=lambda _: next(lines),
    )
    said = capsys.readouterr()
    assert said.err.count("reward ") + said.err.count("no opinion") == 2
    assert "depth" in said.err or "no opinion" in said.err
    assert "bytes that are no UTF-8" in said.err
    assert "the policy's window of 4,096" in said.err.replace("\n", " ")
    assert said.out
    with pytest.raises(UserError, match="an empty --prompt"):
        chat(str(world / "base"), prompt=" ", manner=Manner())


def test_chat_shows_an_answer_whose_reward_server_died(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"reward": 0.5, "levels": {"depth": 2.0}, "probabilities": {"depth": [0, 0, 1, 0, 0]}}
    row |= {"predicted": {"depth": 2}, "uncertainty": {"depth": 0.0}}
    row |= {"prompt_truncated": False, "response_truncated": False}
    left = [(200, json.dumps({"scores": [row]}).encode())]

    class Dying(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = left.pop(0) if left else (400, b"{}")
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Dying) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = f"http://127.0.0.1:{server.server_port}"
        base = str(world / "base")
        with pytest.raises(UserError, match="400"):
            chat(base, reward=where, prompt="hello", manner=Manner(1, 6), device="cpu")
        server.shutdown()
    assert capsys.readouterr().out.strip()
