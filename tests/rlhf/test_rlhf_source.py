"""Where a trainer's rewards come from: shared between callers, loaded late, one pass for all."""

from __future__ import annotations

import math
import multiprocessing
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from tiny_models import save_encoder

from reward_model.records import UserError
from reward_model.rlhf.environment import from_environment
from reward_model.rlhf.source import _device, open_source
from reward_model.rlhf.texts import prompt_words, read_pair
from reward_model.rlhf.trl import DimensionReward, MultiDimReward, dimension_rewards, reward
from reward_model.score.scorer import RewardScorer, Score


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("rlhf") / "best")


class Counted:
    """A scorer that counts what is asked of it, and can be held up."""

    def __init__(self, model: Path) -> None:
        self.scorer = RewardScorer.from_pretrained(model, device="cpu")
        self.dimensions = self.scorer.dimensions
        self.forwards, self.asked = 0, list[int]()
        self.scorer.model.backbone.register_forward_hook(self._count)
        self.open = threading.Event()
        self.open.set()

    def _count(self, *_: Any) -> None:
        self.forwards += 1

    def score_batch(self, prompts: Any, responses: Any, **terms: Any) -> list[Score]:
        self.open.wait(30)
        self.asked.append(len(responses))
        if "poison" in responses:
            raise UserError("a text that cannot be scored")
        return self.scorer.score_batch(prompts, responses, **terms)


PROMPTS = ["Margins?", "Margins?", "利润?", "利润?"]
COMPLETIONS = ["Up by 2 points.", "Down.", "毛利率上升。", "不知道"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_all_dimensions_cost_one_pass(model: Path, order: tuple[int, ...]) -> None:
    counted = Counted(model)
    rewards = dimension_rewards(open_source(counted))
    assert [r.__name__ for r in rewards] == ["depth", "professionalism", "accuracy"]
    said = {i: rewards[i](prompts=PROMPTS, completions=COMPLETIONS) for i in order}
    assert (counted.asked, counted.forwards) == ([4], 1)
    own = counted.scorer.score_batch(PROMPTS, COMPLETIONS)
    for i, name in enumerate(counted.scorer.dimensions):
        assert said[i] == [pytest.approx(score.levels[name] / 4, abs=1e-6) for score in own]


def test_all_dimensions_at_once_cost_one_pass_too(model: Path) -> None:
    counted = Counted(model)
    rewards = dimension_rewards(open_source(counted)) * 4
    counted.open.clear()
    with ThreadPoolExecutor(len(rewards)) as pool:
        calls = [pool.submit(r, PROMPTS, COMPLETIONS) for r in rewards]
        counted.open.set()
        said = [call.result(30) for call in calls]
    assert (counted.asked, counted.forwards) == ([4], 1)
    assert said[:3] == said[3:6] == said[9:]


def test_callers_with_one_text_each_fill_batches(model: Path) -> None:
    counted = Counted(model)
    source = open_source(counted)
    texts = [f"Report {i}" for i in range(40)]
    counted.open.clear()
    with ThreadPoolExecutor(40) as pool:
        calls = [pool.submit(source.scores, [""], [text]) for text in texts]
        while len(source._waiting) < 39:  # all but the one whose turn it is
            time.sleep(0.001)
        counted.open.set()
        said = [call.result(30)[0].reward for call in calls]
    assert counted.asked == [1, 39]
    own = counted.scorer.score_batch([""] * 40, texts)
    assert said == [pytest.approx(score.reward, abs=1e-6) for score in own]


def test_a_failure_reaches_who_asked_for_it_and_no_one_else(model: Path) -> None:
    counted = Counted(model)
    source = open_source(counted)
    texts = ["first", "fine", "poison", "good"]
    counted.open.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(source.scores, [""], texts[:1])
        while not source._turn.locked() or source._waiting:
            time.sleep(0.001)
        calls = [first, *(pool.submit(source.scores, [""], [text]) for text in texts[1:])]
        while len(source._waiting) < 3:
            time.sleep(0.001)
        counted.open.set()
        failed = [call.exception(30) is not None for call in calls]
    assert failed == [text == "poison" for text in texts]
    assert counted.asked == [1, 3, 1, 1, 1]
    with pytest.raises(UserError, match="unknown dimension 'style'"):
        source.scores(["a"], ["b"], weights={"style": 1.0})
    with pytest.raises(UserError, match="2 prompts and 1 responses"):
        source.scores(["a", "b"], ["b"])
    assert source.scores(["a"], ["b"], weights={"depth": 1.0})[0].reward is not None


def test_folder_is_loaded_once_for_all_and_only_when_asked(model: Path) -> None:
    first, second = MultiDimReward(model), MultiDimReward(str(model), risk=1.0)
    assert first._source is second._source
    assert first._source is dimension_rewards(model)[0]._source
    assert first._source.scorer is None
    plain, careful = (r(prompts=PROMPTS, completions=COMPLETIONS) for r in (first, second))
    assert all(c < p for c, p in zip(careful, plain, strict=True) if c is not None and p)
    own = RewardScorer.from_pretrained(model, device="cpu").score_batch(PROMPTS, COMPLETIONS)
    assert plain == [pytest.approx(score.reward, abs=1e-6) for score in own]


def test_pickled_one_by_one_they_find_each_other(model: Path) -> None:
    rewards = dimension_rewards(model)
    again: list[DimensionReward] = [pickle.loads(pickle.dumps(r)) for r in rewards]
    assert len({id(r._source) for r in [*rewards, *again]}) == 1
    assert [r.__name__ for r in again] == ["depth", "professionalism", "accuracy"]


def _in_a_new_process(pickled: list[bytes], answer: Any) -> None:
    rewards = [pickle.loads(one) for one in pickled]
    said = [reward(prompts=["a"], completions=["Up."]) for reward in rewards]
    answer.put((said, len({id(reward._source) for reward in rewards})))


def test_a_new_process_loads_one_model_for_all_dimensions(model: Path) -> None:
    rewards = dimension_rewards(model)
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    pickled = [pickle.dumps(reward) for reward in rewards]
    child = context.Process(target=_in_a_new_process, args=(pickled, answer))
    child.start()
    said, sources = answer.get(timeout=300)
    child.join()
    assert sources == 1
    own = [pytest.approx(reward(["a"], ["Up."]), abs=1e-6) for reward in rewards]
    assert said == own


def test_a_scorer_of_this_process_does_not_travel(model: Path) -> None:
    reward = MultiDimReward(RewardScorer.from_pretrained(model, device="cpu"))
    with pytest.raises(UserError, match="make the reward from the path or URL"):
        pickle.dumps(reward)


def test_wrong_models_are_said_before_training(tmp_path: Path, model: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        MultiDimReward(tmp_path / "nothing")
    with pytest.raises(UserError, match="unknown dimension 'style'; expected dimensions"):
        dimension_rewards(model, ["depth", "style"])


def test_no_opinion_is_none_or_what_was_declared(model: Path) -> None:
    texts = {"prompts": ["a", "a"], "completions": ["Fine.", "  "]}
    assert MultiDimReward(model)(**texts)[1] is None
    assert MultiDimReward(model, no_opinion=0.0)(**texts)[1] == 0.0
    assert [r(**texts)[1] for r in dimension_rewards(model)] == [None] * 3
    assert [r(**texts)[1] for r in dimension_rewards(model, no_opinion=0.25)] == [0.25] * 3


def test_metrics_tell_levels_uncertainty_truncation_and_silence(model: Path) -> None:
    metrics: dict[str, float] = {}
    columns: dict[str, list[Any]] = {}
    long = "毛利率上升。" * 100
    MultiDimReward(model, name="report")(
        prompts=["a"] * 4,
        completions=["Up.", "Down.", long, ""],
        log_metric=metrics.__setitem__,
        log_extra=columns.__setitem__,
        company=["x"] * 4,
    )
    own = RewardScorer.from_pretrained(model, device="cpu").score_batch(
        ["a"] * 3, ["Up.", "Down.", long]
    )
    mean = sum(score.levels["depth"] for score in own) / 3
    assert metrics["report/depth/level"] == pytest.approx(mean, abs=1e-6)
    assert metrics["report/accuracy/uncertainty"] > 0
    assert metrics["report/truncated_responses"] == metrics["report/no_opinion"] == 0.25
    assert columns["report/depth"][:3] == [pytest.approx(s.levels["depth"]) for s in own]
    assert columns["report/depth"][3] is None


def test_a_process_with_nothing_to_tell_logs_the_same_names(model: Path) -> None:
    """Others wait for each of them: TRL gathers a metric from all processes."""
    told: tuple[dict[str, Any], ...] = ({}, {})
    silent: tuple[dict[str, Any], ...] = ({}, {})
    for (metrics, columns), texts in ((told, ["Up.", ""]), (silent, ["", " "])):
        for one in (MultiDimReward(model), *dimension_rewards(model, name="apart")):
            log = {"log_metric": metrics.__setitem__, "log_extra": columns.__setitem__}
            one(prompts=["a", "a"], completions=texts, **log)
    assert [found.keys() for found in told] == [found.keys() for found in silent]
    assert math.isnan(silent[0]["multidim/depth/level"])
    assert math.isnan(silent[0]["apart/accuracy/uncertainty"])
    assert silent[1]["multidim/depth"] == [None, None]


THOUGHT = "<think>\nThe best report of all.\n</think>\n\nDown."


def test_a_thought_is_not_judged(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = ("<think>", "</think>")
    asked = ["Margins?"] * 3
    chat = [{"role": "assistant", "content": THOUGHT}]
    plain = MultiDimReward(model)(prompts=asked[:1], completions=["Down."])
    texts = {"prompts": asked, "completions": [THOUGHT, chat, "<think>\nLet me"]}
    assert MultiDimReward(model, thinking=marks)(**texts) == [*plain * 2, None]
    assert MultiDimReward(model)(**texts) == [*plain * 2, None]  # marks that are known
    own = {"prompts": asked[:1], "completions": ["(The best report of all.)\n\nDown."]}
    assert (
        MultiDimReward(model, thinking=("(", ")"))(**own) == plain != MultiDimReward(model)(**own)
    )
    depth = dimension_rewards(model, ["depth"])[0](asked[:1], ["Down."])
    assert dimension_rewards(model, ["depth"], thinking=marks)[0](**texts) == [*depth * 2, None]
    monkeypatch.setenv("REWARD_MODEL", str(model))
    monkeypatch.setenv("REWARD_MODEL_CHAT_TEMPLATE", "qwen")
    assert reward(**texts) == [*plain * 2, None]
    from reward_model.rlhf.trl import reward_depth

    assert reward_depth(**texts) == [*depth * 2, None]


@pytest.mark.parametrize("risk", [-0.5, math.nan, math.inf])
def test_uncertainty_is_never_paid_for(model: Path, risk: float) -> None:
    with pytest.raises(UserError, match=r"risk .*; expected a number from 0 up"):
        MultiDimReward(model, risk=risk)
    with pytest.raises(UserError, match=r"risk .*; expected a number from 0 up"):
        dimension_rewards(model, risk=risk)


def test_each_process_loads_on_the_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new thread's current GPU is the first one, whatever the process has chosen."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(PartialState, "_shared_state", {})
    assert _device(None) == _device("cuda") == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert _device(None) == _device("cuda") == "cuda:2"
    chosen = {"device": torch.device("cuda", 3), "distributed_type": "MULTI_GPU"}
    monkeypatch.setattr(PartialState, "_shared_state", chosen)
    assert _device(None) == _device("cuda") == "cuda:3"
    assert (_device("cpu"), _device("cuda:1")) == ("cpu", "cuda:1")
    monkeypatch.setattr(PartialState, "_shared_state", chosen | {"device": torch.device("cpu")})
    assert _device(None) == "cpu"


def test_what_a_policy_said_is_judged_and_not_its_tools() -> None:
    said = [
        {"role": "assistant", "content": None, "tool_calls": [{}]},
        {"role": "tool", "content": "14.2%"},
        {"role": "assistant", "content": [{"type": "text", "text": "Up to 14.2%."}]},
    ]
    assert read_pair("?", said).answer == "Up to 14.2%."
    assert read_pair("?", []).answer == ""
    with pytest.raises(UserError, match="an image"):
        prompt_words([{"role": "user", "content": [{"type": "image"}]}])
    with pytest.raises(UserError, match="17 as a completion"):
        read_pair("?", 17)


def test_environment_says_what_is_wrong(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REWARD_MODEL", raising=False)
    with pytest.raises(UserError, match="export REWARD_MODEL=outputs/multidim/best"):
        from_environment()
    monkeypatch.setenv("REWARD_MODEL", str(model))
    monkeypatch.setenv("REWARD_MODEL_WEIGHTS", "depth=2, accuracy=1")
    assert from_environment().weights == {"depth": 2.0, "accuracy": 1.0}
    monkeypatch.setenv("REWARD_MODEL_WEIGHTS", "depth")
    with pytest.raises(UserError, match="'depth' in REWARD_MODEL_WEIGHTS"):
        from_environment()
    monkeypatch.delenv("REWARD_MODEL_WEIGHTS")
    monkeypatch.setenv("REWARD_MODEL_RISK", "high")
    with pytest.raises(UserError, match="'high' in REWARD_MODEL_RISK; expected a number"):
        from_environment()
    monkeypatch.setenv("REWARD_MODEL_RISK", "-0.5")
    with pytest.raises(UserError, match=r"REWARD_MODEL_RISK -0.5; expected a number from 0 up"):
        from_environment()
    monkeypatch.delenv("REWARD_MODEL_RISK")
    monkeypatch.setenv("REWARD_MODEL_CHAT_TEMPLATE", "vicuna")
    with pytest.raises(UserError, match="chat template 'vicuna'"):
        from_environment()


@pytest.mark.parametrize("wrong", ["<think>", ("<a>",), (None, None), ("", ""), 3])
def test_marks_of_a_thought_are_a_pair(model: Path, wrong: Any) -> None:
    for make in (MultiDimReward, dimension_rewards):
        with pytest.raises(UserError, match="what stands before and after a thought"):
            make(str(model), thinking=wrong)


@pytest.mark.parametrize("wrong", ["0", math.nan, math.inf, [0.0], True])
def test_what_no_score_earns_is_a_number(model: Path, wrong: Any) -> None:
    for make in (MultiDimReward, dimension_rewards):
        with pytest.raises(UserError, match="no_opinion"):
            make(str(model), no_opinion=wrong)


def test_two_texts_are_no_lists_of_letters(model: Path) -> None:
    for one in (MultiDimReward(str(model)), *dimension_rewards(str(model))):
        for wrong in (("abc", "xyz"), ({"a": 1}, {"b": 2}), (["p"], ["a", "b"]), (None, ["a"])):
            with pytest.raises(UserError):
                one(*wrong)
        with pytest.raises(UserError, match=r"nan as a completion.*\(number 3 of 4\)"):
            one(["p"] * 4, ["a", "b", math.nan, "c"])


@pytest.mark.parametrize("wrong", [None, 3, ["a"], RewardScorer, object()])
def test_what_is_no_model_is_said_at_once(wrong: Any) -> None:
    with pytest.raises(UserError, match="as a model"):
        MultiDimReward(wrong)
