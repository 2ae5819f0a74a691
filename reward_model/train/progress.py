"""Training on the terminal: one bar with rate and time left, one line an evaluation; in a log,
lines (`records.lines`).

A TrainerCallback; transformers' own bars and logs are turned off beside it.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from reward_model.records.terminal import progress


class TrainingBar(TrainerCallback):
    """Shows steps, the running loss and what validation says; on the main process only.

    Args:
        texts: how many are trained on, for the beginning.
    """

    def __init__(self, texts: int | None = None) -> None:
        self._note = "" if texts is None else f"{texts:,} texts"
        self._bar: Any = None
        self._task: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar, at the step a resumed run goes on from."""
        if state.is_world_process_zero:
            self._bar = progress()
            self._bar.start()
            self._task = self._bar.add_task(
                "training", total=state.max_steps, completed=state.global_step, note=self._note
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move on by a step."""
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Show the running loss."""
        if self._bar is not None and logs and "loss" in logs:
            self._bar.update(self._task, note=f"loss {float(logs['loss']):.3f}")

    def on_evaluate(
        self,
        args: Any,
        state: Any,
        control: Any,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Print what validation says."""
        if self._bar is not None and metrics:
            words = [
                f"{label} {metrics[key]:.3f}"
                for label, key in (
                    ("loss", "eval_loss"),
                    ("kappa", "eval_qwk"),
                    ("accuracy", "eval_accuracy"),
                    ("pairs", "eval_pair_accuracy"),
                    ("reward", "eval_reward"),
                    ("gold reward", "eval_gold"),
                )
                if key in metrics
            ]
            self._bar.console.print(
                f"step {state.global_step}, epoch {state.epoch or 0:.2f}: validation "
                + ", ".join(words)
            )

    def close(self) -> None:
        """Close the bar, however training ended."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
