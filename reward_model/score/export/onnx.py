"""The whole model as one ONNX graph: token ids in, calibrated logits of every dimension out.

`write_onnx(model, example, path)` writes it, `onnx_runner(path)` runs it with onnxruntime.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reward_model.model.network import MultiDimRewardModel, with_length
from reward_model.model.padded import pool
from reward_model.records import UserError
from reward_model.records.errors import first_line, require

MODEL = "model.onnx"


class _Graph(nn.Module):
    """The model's own parts in an order that ONNX can express."""

    def __init__(self, model: MultiDimRewardModel, extra: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.extra = model, dict(extra)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        answer_tokens: Tensor | None = None,
    ) -> Tensor:
        """(B, T) each, padding on either side, and (B,) lengths -> logits (B, D, K)."""
        # What the model does by a stable sort, which ONNX has not: text first, padding last.
        gaps = 1 - attention_mask
        text, after = attention_mask.cumsum(1) - 1, gaps.cumsum(1) - 1
        there = attention_mask == 1
        at = torch.where(there, text, attention_mask.sum(1, keepdim=True) + after)
        mask = torch.zeros_like(attention_mask).scatter(1, at, attention_mask)
        inputs = {"input_ids": torch.zeros_like(input_ids).scatter(1, at, input_ids)}
        if token_type_ids is not None:
            inputs["token_type_ids"] = torch.zeros_like(token_type_ids).scatter(
                1, at, token_type_ids
            )
        hidden = self.model.backbone(
            **inputs, attention_mask=mask, return_dict=True, **self.extra
        ).last_hidden_state
        pooled = pool(hidden, mask, self.model.config.pooling)
        if self.model.config.length_heads:
            pooled = with_length(pooled, answer_tokens)
        return self.model.score_pooled(pooled)


def write_onnx(model: MultiDimRewardModel, example: Mapping[str, Tensor], path: Path) -> None:
    """Write the graph, for any number of texts of any length.

    Args:
        model: in evaluation mode, on a CPU, in float32.
        example: a batch of at least two texts, which the graph is traced on.
        path: of the graph; large weights go to a file beside it.

    Raises:
        UserError: it reads in windows, or its backbone has parts that ONNX cannot express.
    """
    require("--to onnx", "onnx", "onnx", "onnxscript", "onnxruntime")
    if model.config.window:
        raise UserError(
            f"a model that reads windows of {model.config.window} tokens",
            expected="one that reads each text as a whole: how many windows there are depends on "
            "the text, which a graph cannot say",
            mend="use reward-model serve",
        )
    extra = {"use_cache": False} if model._takes_cache else {}
    unread = {"token_type_ids": not model._takes_types}
    unread["answer_tokens"] = not model.config.length_heads
    names = [name for name in example if not unread.get(name)]
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    try:
        with _still():
            torch.onnx.export(
                _Graph(model, extra).eval(),
                (),
                str(path),
                kwargs={name: example[name] for name in names},
                input_names=names,
                output_names=["logits"],
                dynamic_shapes={
                    name: {0: batch} if name == "answer_tokens" else {0: batch, 1: length}
                    for name in names
                },
                dynamo=True,
            )
    # The exporter fails in as many ways as there are operators.
    except Exception as error:
        raise UserError(
            f"a {model.config.backbone_config.model_type} backbone that ONNX cannot express "
            f"({first_line(error)})",
            expected="operators that torch.onnx has",
            mend="use reward-model serve",
        ) from None


def onnx_runner(path: Path) -> Callable[[dict[str, Tensor]], Tensor]:
    """Run a graph on batches of the names it asks for."""
    import onnxruntime  # type: ignore[import-untyped]

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(batch: dict[str, Tensor]) -> Tensor:
        (logits,) = session.run(None, {name: batch[name].numpy() for name in names})
        return torch.from_numpy(logits)

    return run


@contextlib.contextmanager
def _still() -> Iterator[None]:
    """Keep the exporter's progress and its advice to programmers off the terminal."""
    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        loud.setLevel(level)
