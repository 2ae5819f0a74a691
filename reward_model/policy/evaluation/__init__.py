"""How good a policy is, beside what it began from. Begin in `evaluate.py`."""
