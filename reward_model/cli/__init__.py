"""The door: flags in, words and tables out, one file a command; nobody imports it."""

from reward_model.cli.commands import app, main

__all__ = ["app", "main"]
