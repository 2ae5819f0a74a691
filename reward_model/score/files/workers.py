"""Scoring in this process or in several: blocks of texts in, their scores out, in order.

`scored_blocks(Models([path]), blocks, workers=2)`; a worker on a GPU has one of its own, workers on
a CPU share its threads.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reward_model.model.familiarity import FILE
from reward_model.records import Stopped, Text

if TYPE_CHECKING:
    from reward_model.score.ensemble import EnsembleScorer
    from reward_model.score.scorer import RewardScorer, Score

Block = tuple[Sequence[Text], Sequence[Text]]
"""Prompts and responses."""


@dataclass(frozen=True)
class Models:
    """What to score with; loaded where it is used."""

    paths: tuple[Path, ...]
    """One, or the members of an ensemble."""
    how: str = "mean"
    """How an ensemble joins its members."""
    weights: dict[str, float] | None = None
    risk: float = 0.0
    device: str | None = None
    batch_tokens: int | None = None
    abstain: float | None = None
    centered: bool = False
    """Rewards less the mean of the reference texts, over their standard deviation."""

    @property
    def familiar(self) -> bool:
        """Some of them tell how familiar a text is."""
        return any((path / FILE).exists() for path in self.paths)

    def load(self) -> RewardScorer | EnsembleScorer:
        """The scorer.

        Raises:
            UserError: a folder that holds no model, or settings that do not fit it.
        """
        from reward_model.score.ensemble import EnsembleScorer
        from reward_model.score.scorer import RewardScorer

        settings: dict[str, Any] = {
            "weights": self.weights,
            "risk": self.risk,
            "device": self.device,
            "batch_tokens": self.batch_tokens,
            "abstain": self.abstain,
            "centered": self.centered,
        }
        if len(self.paths) == 1:
            return RewardScorer.from_pretrained(self.paths[0], **settings)
        how: Any = self.how
        return EnsembleScorer.from_pretrained(self.paths, how=how, **settings)


def scored_blocks(
    models: Models, blocks: Iterable[Block], workers: int = 1
) -> Iterator[list[Score]]:
    """The scores of every block, in order; at most twice as many blocks as workers in memory.

    Raises:
        UserError: the models cannot be loaded.
        Stopped: a worker was ended from outside.
    """
    if workers == 1:
        scorer = models.load()
        for prompts, responses in blocks:
            yield scorer.score_batch(prompts, responses)
        return
    context = multiprocessing.get_context("spawn")
    counter = context.Value("i", 0)
    pool = ProcessPoolExecutor(workers, context, _begin, (models, workers, counter))
    waiting: deque[Future[list[Score]]] = deque()
    try:
        for block in blocks:
            waiting.append(pool.submit(_score, block))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise Stopped(
            "a worker was ended from outside, perhaps for want of memory; what is written is "
            "kept: run the same command again, with fewer --num-workers if it comes back"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_models: Models | None = None
_scorer: RewardScorer | EnsembleScorer | None = None


def _begin(models: Models, workers: int, counter: Any) -> None:
    """First thing in a worker."""
    global _models
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends its workers itself
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    with counter.get_lock():
        number = counter.value
        counter.value += 1
    if models.device in (None, "cuda") and torch.cuda.is_available():
        models = replace(models, device=f"cuda:{number % torch.cuda.device_count()}")
    elif models.device in (None, "cpu"):
        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    _models = models


def _end_with_parent() -> None:
    """A killed first process cannot end its workers, and they would wait for it for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _score(block: Block) -> list[Score]:
    global _scorer
    if _scorer is None:  # here and not in `_begin`, whose errors would not reach the user
        assert _models is not None
        _scorer = _models.load()
    return _scorer.score_batch(*block)
