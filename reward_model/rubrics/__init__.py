"""What is judged and on which scale: `Rubric`, `load_rubric`, and the files that ship."""

from reward_model.rubrics.rubric import (
    Degradation,
    Rewrite,
    Rubric,
    Words,
    load_rubric,
    parse_rubric,
    say,
    shipped_rubrics,
)

__all__ = [
    "Degradation",
    "Rewrite",
    "Rubric",
    "Words",
    "load_rubric",
    "parse_rubric",
    "say",
    "shipped_rubrics",
]
