"""Samples of held-out prompts scored while a policy trains, to keep the checkpoint they like best.

`Watch` writes `eval_reward` (and `eval_gold`) into the metrics of every evaluation; the Trainer
does the rest. Its draws leave the generator of training as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from transformers import TrainerCallback

from reward_model.policy.base import Place, Policy
from reward_model.policy.frame import Frame
from reward_model.policy.generate import Manner, answers
from reward_model.policy.rows import PolicyRow
from reward_model.rlhf.source import RewardSource


class Watch(TrainerCallback):
    """Scores what the policy says to the same prompts at each evaluation."""

    def __init__(
        self,
        rows: Sequence[PolicyRow],
        tokenizer: Any,
        manner: Manner,
        reward: RewardSource,
        gold: RewardSource | None = None,
    ) -> None:
        self._rows, self._tokenizer, self._manner = rows, tokenizer, manner
        self._rewards = {"reward": reward} | ({"gold": gold} if gold is not None else {})

    @property
    def metric(self) -> str:
        """What keeps the checkpoint."""
        return "gold" if "gold" in self._rewards else "reward"

    def on_evaluate(
        self,
        args: Any,
        state: Any,
        control: Any,
        metrics: dict[str, float] | None = None,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        """Answer, score, and tell the Trainer."""
        if metrics is None or model is None:
            return
        policy = in_training(model, self._tokenizer)
        was = model.training
        model.eval()
        frame = policy.frame
        said = answers(policy, frame.prompt_ids([r.prompt for r in self._rows]), self._manner)
        model.train(was)
        prompts = [row.prompt for row, each in zip(self._rows, said, strict=True) for _ in each]
        texts = [one.text for each in said for one in each]
        for name, source in self._rewards.items():
            scores = source.scores(prompts, texts)
            # No opinion on an answer is no reason to like its checkpoint.
            metrics[f"eval_{name}"] = fmean(score.reward or 0.0 for score in scores)
            for dimension in source.names(scores):
                told = [s.levels[dimension] for s in scores if s.levels]
                if told:
                    metrics[f"eval_{name}/{dimension}"] = fmean(told)
        metrics["eval_answer_tokens"] = fmean(len(one.ids) for each in said for one in each)
        if state.log_history and state.log_history[-1].get("step") == state.global_step:
            state.log_history[-1].update(metrics)


class WatchOnly:
    """Mixed into an online trainer: its evaluation is the watch alone.

    Left to itself it would sample and score the held-out prompts a second time, or not know how.
    """

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """What the callbacks measure."""
        trainer: Any = self
        metrics: dict[str, float] = {}
        trainer.control = trainer.callback_handler.on_evaluate(
            trainer.args, trainer.state, trainer.control, metrics
        )
        trainer.log(dict(metrics))
        return metrics


def in_training(model: Any, tokenizer: Any) -> Policy:
    """The policy inside a trainer's model, as it is at this step."""
    inner = model.module if hasattr(model, "module") else model
    prefix = None
    settings = getattr(inner, "peft_config", {}).get("default")
    if settings is not None and settings.is_prompt_learning:
        prefix = inner.get_prompt_embedding_to_save("default").detach()
        inner = inner.get_base_model()
    left = tokenizer
    return Policy(Place("training", ""), inner, left, Frame(left), prefix)


__all__ = ["Watch", "WatchOnly", "in_training"]
