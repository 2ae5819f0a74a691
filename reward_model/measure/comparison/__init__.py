"""A scalar reward model on the same backbone and data, to stand beside ours."""
