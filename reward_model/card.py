"""The README.md of a model folder: what it scores, what it learned from, what was measured.

Only numbers that were measured in the run are in it.
"""

from __future__ import annotations

from typing import Any

from reward_model.rubric import Rubric, say
from reward_model.train_config import TrainConfig

_HOW = """## Use

```python
from reward_model import RewardScorer

scorer = RewardScorer.from_pretrained("path/to/this/folder")
score = scorer.score(prompt, response)
score.reward, score.levels, score.probabilities
```
"""


def model_card(config: TrainConfig, rubric: Rubric, metrics: dict[str, Any]) -> str:
    """Markdown with what is known at the end of training."""
    lines = [
        "# Multi-dimensional reward model",
        "",
        f"Scores a response on {', '.join(say(d.title, 'en').lower() for d in rubric.dimensions)}, "
        f"levels 0 to {rubric.scale} each (rubric `{rubric.id}`).",
        "",
        _HOW,
        "## Training",
        "",
        f"- base model: `{config.base_model}`, at most {config.max_length} tokens, "
        f"evidence: {config.evidence}, seed {config.seed}",
        f"- texts: {metrics['texts']['train']} to learn from, {metrics['texts']['validation']} to "
        f"pick the checkpoint, {metrics['texts']['test']} set aside, in groups: what shares "
        "a prompt or a company stays together",
        f"- data digest: `{metrics['data']}`",
        "",
        "## Validation",
        "",
        "Measured on the texts that picked the checkpoint, so slightly optimistic; "
        "`reward-model evaluate` measures on the texts set aside, beside simple baselines.",
        "",
    ]
    best = metrics["validation"]
    if best:
        lines += ["| measure | value |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for name, value in sorted(best.items())]
    else:
        lines.append("No text was held out.")
    if metrics["remarks"]:
        lines += ["", "## Limits", "", *(f"- {words}" for words in metrics["remarks"])]
    return "\n".join(lines) + "\n"
