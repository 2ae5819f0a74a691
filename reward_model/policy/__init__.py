"""Training and measuring of policies with the reward, on TRL; docs/policies.md is its page."""
