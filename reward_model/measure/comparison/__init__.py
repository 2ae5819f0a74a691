"""A scalar reward model on the same backbone and data, to stand beside ours."""

KEPT = "bradley_terry.json"
"""Settings beside a scalar model that is kept; what marks a folder that may be replaced by one."""
