"""What is judged and on which scale: `Rubric`, `load_rubric`, and the files that ship."""

from reward_model.rubrics.rubric import (
    Degradation,
    Dimension,
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
    "Dimension",
    "Rewrite",
    "Rubric",
    "Words",
    "load_rubric",
    "parse_rubric",
    "say",
    "shipped_rubrics",
]
