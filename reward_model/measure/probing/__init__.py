"""Edits that must not raise a reward, and what they do to it."""
