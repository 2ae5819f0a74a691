"""`python -m reward_model ...` is `reward-model ...` (what `accelerate launch -m` needs)."""

from reward_model.cli import main

main()
