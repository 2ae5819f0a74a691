"""What people did with a policy's answers: monitor, A/B tests, pairs; any size of log, no torch.

Begin in `rows` (a log becomes columns of numbers), then `monitor`, `ab` and `pairs`, one a command.
`docs/traffic.md` is its page.
"""

from reward_model.traffic.arm import arm

__all__ = ["arm"]
