"""TRL's DPO trainer with the losses of `losses`: `compute_loss` is overridden, as TRL documents.

The tokens, the loop, the reference, LoRA and the saving stay TRL's. The one private method that is
touched is `_precompute_ref_logps`, so that ORPO and SimPO load no reference.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer

from reward_model.policy.training import losses

GUIDED = "guided_prompt_ids"
"""Column of the prompt with the preference in it."""
_MASKS = {"completion_mask", "ref_chosen_logps", "ref_rejected_logps"}


class Objective(NamedTuple):
    """What our trainer minimises."""

    name: str
    """`pref_po`, `orpo` or `simpo`."""
    beta: float
    alpha: float = 0.0
    gamma: float = 0.0
    prefix: Tensor | None = None
    """(n, H): the preference of `pref_po` as virtual tokens, instead of text."""

    @property
    def compares(self) -> bool:
        """It needs a reference."""
        return self.name == "pref_po"


class Means(NamedTuple):
    """Mean log-probabilities a token, (B,)."""

    chosen: Tensor
    rejected: Tensor

    @property
    def difference(self) -> Tensor:
        """D."""
        return self.chosen - self.rejected


class GuidedCollator:
    """Two batches of the same rows: the prompt as it is, and with the preference."""

    def __init__(self, pad_token_id: int) -> None:
        self.plain = DataCollatorForPreference(pad_token_id=pad_token_id)

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Tensors of both; those of the second are named `guided_…`."""
        batch: dict[str, Any] = self.plain(list(examples))
        if GUIDED in examples[0]:
            told = [
                {**{k: e[k] for k in ("chosen_ids", "rejected_ids")}, "prompt_ids": e[GUIDED]}
                for e in examples
            ]
            batch |= {f"guided_{name}": value for name, value in self.plain(told).items()}
        return batch


class PreferenceTrainer(DPOTrainer):
    """`DPOTrainer` with an `Objective` of ours."""

    objective: Objective

    def __init__(self, *args: Any, objective: Objective, **kwargs: Any) -> None:
        self.objective = objective
        super().__init__(*args, **kwargs)

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        if self.objective.compares:
            return super()._precompute_ref_logps(dataset, name, batch_size)
        return dataset

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of a batch; outputs are not kept."""
        told = {k.removeprefix("guided_"): v for k, v in inputs.items() if k.startswith("guided_")}
        inputs = {k: v for k, v in inputs.items() if not k.startswith("guided_")}
        own, goal = self._means(model, inputs), self.objective
        if goal.name == "orpo":
            rows = losses.orpo(own.chosen, own.rejected, beta=goal.beta)
        elif goal.name == "simpo":
            rows = losses.simpo(own.chosen, own.rejected, beta=goal.beta, gamma=goal.gamma)
        else:
            told = told or inputs
            guided = self._means(model, told, goal.prefix)
            with self._reference(model) as reference, torch.no_grad():
                before = self._means(reference, inputs).difference
                guided_before = self._means(reference, told, goal.prefix).difference
            rows = losses.pref_po(
                own.difference,
                guided.difference,
                before,
                guided_before,
                beta=goal.beta,
                alpha=goal.alpha,
            )
            self._note("guided/margins", guided.difference)
            self._note("rewards/margins", goal.beta * (own.difference - before))
            beyond = (own.difference.abs() >= losses.CLAMP).float()
            self._note("clamped", beyond)
        self._note("logps/chosen", own.chosen)
        self._note("logps/rejected", own.rejected)
        self._note("rewards/accuracies", (own.difference > 0).float())
        loss = rows.mean()
        return (loss, None) if return_outputs else loss

    def _means(self, model: Any, batch: dict[str, Any], prefix: Tensor | None = None) -> Means:
        """Mean log-probability a token of every answer of a batch."""
        given = {k: v for k, v in batch.items() if k not in _MASKS}
        mask = batch["completion_mask"]
        labels = batch["input_ids"].masked_fill(mask == 0, -100)
        if prefix is not None:
            given, labels = self._behind(prefix, model, given, labels)
        out = model(**given, labels=labels, use_cache=False, fused_lm_head=True)
        kept = mask[:, 1:]
        # Virtual tokens stand before the others and answer nothing.
        logps = out.log_probs[:, -kept.size(1) :]
        means = (logps * kept).sum(1) / kept.sum(1).clamp(min=1)
        chosen, rejected = means.chunk(2)
        return Means(chosen, rejected)

    def _behind(
        self, prefix: Tensor, model: Any, given: dict[str, Any], labels: Tensor
    ) -> tuple[dict[str, Any], Tensor]:
        """A batch behind virtual tokens (n, H): embedded, masked and without labels there."""
        words = self.accelerator.unwrap_model(model).get_input_embeddings()(given["input_ids"])
        before = prefix.to(words)[None].expand(len(words), -1, -1)
        size = (len(words), prefix.size(0))
        mask, kept = given["attention_mask"], {**given}
        del kept["input_ids"]
        kept["inputs_embeds"] = torch.cat([before, words], 1)
        kept["attention_mask"] = torch.cat([mask.new_ones(size), mask], 1)
        return kept, torch.cat([labels.new_full(size, -100), labels], 1)

    @contextlib.contextmanager
    def _reference(self, model: Any) -> Iterator[Any]:
        """The reference: a model beside, or the policy without its adapter."""
        if self.ref_model is not None:
            yield self.ref_model
            return
        with self.accelerator.unwrap_model(model).disable_adapter():
            yield model

    def _note(self, name: str, values: Tensor) -> None:
        model: Any = self.model
        mode = "train" if model.training else "eval"
        mean = self.accelerator.gather_for_metrics(values.detach()).mean().item()
        self._metrics[mode][name].append(mean)
