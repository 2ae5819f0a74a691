"""Training and measuring of policies with the reward, on TRL; docs/policies.md is its page."""

from __future__ import annotations

from reward_model.records.errors import require


def require_trl() -> None:
    """See that TRL is there, and one that this room was tried with.

    Raises:
        UserError: it is not.
    """
    require("training of policies", "rlhf", "trl>=1.15,<2", "peft")


__all__ = ["require_trl"]
