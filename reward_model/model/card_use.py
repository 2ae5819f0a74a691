"""The part of a model card that says how to plug the model in; a test runs its lines."""

from __future__ import annotations

_TEXT = """## Use

```python
from reward_model import RewardScorer

scorer = RewardScorer.from_pretrained("path/to/this/folder")
score = scorer.score(prompt, response)
score.reward  # 0 to 1, None where there is no opinion
score.levels, score.probabilities, score.uncertainty
```

As a reward function of TRL's GRPO or RLOO, for plain text and chat messages alike:

```python
def reward(prompts, completions, **kwargs):
    return [score.reward for score in scorer.score_batch(prompts, completions)]


# GRPOTrainer(model="your/policy", reward_funcs=reward, train_dataset=dataset)
```

On the command line:

```
reward-model score path/to/this/folder responses.jsonl --out scored.jsonl
```
"""


def use() -> list[str]:
    """Lines of the section."""
    return [*_TEXT.splitlines(), ""]
