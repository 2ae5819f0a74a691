"""The words of a model card: Markdown from the parts that `reward_model.card` keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reward_model.rubric import Rubric, say

_HOW = """## Use

```python
from reward_model import RewardScorer

scorer = RewardScorer.from_pretrained("path/to/this/folder")
score = scorer.score(prompt, response)
score.reward, score.levels, score.probabilities
```
"""


def card_text(parts: Mapping[Any, dict[str, Any]], rubric: Rubric | None) -> str:
    """README.md: a section for every part that is there."""
    lines = ["# Multi-dimensional reward model", ""]
    if rubric is not None:
        names = ", ".join(say(d.title, "en").lower() for d in rubric.dimensions)
        lines += [
            f"Scores a response on {names}, levels 0 to {rubric.scale} each "
            f"(rubric `{rubric.id}`).",
            "",
        ]
    lines.append(_HOW)
    if "training" in parts:
        lines += _training(parts["training"])
    return "\n".join(lines) + "\n"


def _training(part: Mapping[str, Any]) -> list[str]:
    settings, texts = part["settings"], part["texts"]
    lines = [
        "## Training",
        "",
        f"- base model: `{settings['base_model']}`, at most {settings['max_length']} tokens, "
        f"evidence: {settings['evidence']}, seed {settings['seed']}",
        f"- texts: {texts['train']} to learn from, {texts['validation']} to "
        f"pick the checkpoint, {texts['test']} set aside, in groups: what shares "
        "a prompt or a company stays together",
        f"- data digest: `{part['data']}`",
        "",
        "## Validation",
        "",
        "Measured on the texts that picked the checkpoint, so slightly optimistic; "
        "`reward-model evaluate` measures on the texts set aside, beside simple baselines.",
        "",
    ]
    best = part["validation"]
    if best:
        lines += ["| measure | value |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for name, value in sorted(best.items())]
    else:
        lines.append("No text was held out.")
    if part["remarks"]:
        lines += ["", "## Limits", "", *(f"- {words}" for words in part["remarks"])]
    return [*lines, ""]
