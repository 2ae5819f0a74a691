"""Where a trainer's rewards come from: a model folder, a running server, or a scorer at hand.

`open_source("outputs/multidim/best").scores(prompts, responses)`; all that ask for one folder or
server in a process share it, and what several of them ask about one text costs one forward pass.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from reward_model.records import Text, UserError
from reward_model.rlhf.address import is_address as is_address
from reward_model.rlhf.address import read_address
from reward_model.rlhf.client import RewardClient, UnreachableError
from reward_model.rlhf.wire import is_fallback
from reward_model.score.memory import ForkLock, Memory, fingerprint
from reward_model.score.terms import shares

if TYPE_CHECKING:
    from reward_model.records.texts import Words
    from reward_model.score.scorer import Score


class Scorer(Protocol):
    """What gives scores: `RewardScorer`, an ensemble, or `RewardClient`."""

    def score_batch(
        self,
        prompts: Sequence[Words],
        responses: Sequence[Words],
        *,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
    ) -> list[Score]:
        """One score a response, in order."""
        ...


logger = logging.getLogger(__name__)

Manner = tuple[tuple[tuple[str, float], ...] | None, float | None]
"""Weights and risk, where they are not the model's own."""

_REMEMBERED = 4096
"""Texts whose scores are kept: more than a step of training asks about, at about 2 kB each."""


@dataclass
class _Ask:
    """One caller's texts, until their scores are there."""

    texts: dict[bytes, tuple[Text, Text]]
    """By fingerprint, each text once."""
    manner: Manner
    scores: dict[bytes, Score] | None = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Origin:
    """What a source is opened from; the same origin is the same source in any process."""

    model: str
    """Absolute folder, or address of a server."""
    device: str | None = None
    client: tuple[Any, ...] = field(default=(), repr=False)
    """Settings of the client, where one was given: they may hold a key."""
    centered: bool = False
    """Rewards are to be centred and scaled."""

    @property
    def is_server(self) -> bool:
        """Scores come over HTTP."""
        return is_address(self.model)


@dataclass
class RewardSource:
    """Scores for any number of callers in any number of threads.

    One thread at a time runs the model, on everything that was asked for meanwhile: callers that
    send one text each still fill its batches, and the callables of all dimensions, which ask
    about the same texts, cost one forward pass together, at once or one after the other.
    """

    origin: Origin | None = None
    """None where the scorer was given; then the source cannot leave this process."""
    scorer: Scorer | None = None
    centered: bool = False
    """Scores that are not centred are refused."""
    _names: tuple[str, ...] = field(default=(), repr=False)
    _nameless: bool = field(default=False, repr=False)
    _opening: ForkLock = field(default_factory=ForkLock, repr=False)
    _turn: ForkLock = field(default_factory=ForkLock, repr=False)
    _door: ForkLock = field(default_factory=ForkLock, repr=False)
    _waiting: list[_Ask] = field(default_factory=list, repr=False)
    _memory: Memory[tuple[Manner, bytes], Score] = field(
        default_factory=lambda: Memory(_REMEMBERED), repr=False
    )

    def scores(
        self,
        prompts: Sequence[Words],
        responses: Sequence[Words],
        *,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
    ) -> list[Score]:
        """One score a response, in order.

        Raises:
            UserError: texts that are none, a wrong weight, or a server that gives no scores.
        """
        from reward_model.records.texts import as_pairs

        manner = (None if weights is None else tuple(sorted(weights.items())), risk)
        texts = as_pairs(prompts, responses)
        keys = [fingerprint(prompt, response) for prompt, response in texts]
        ask = _Ask(dict(zip(keys, texts, strict=True)), manner)
        with self._door:
            self._waiting.append(ask)
        with self._turn:
            if ask.scores is None and ask.error is None:
                with self._door:
                    batch, self._waiting = self._waiting, []
                self._answer(batch)
        if ask.error is not None:
            raise ask.error
        assert ask.scores is not None
        return [ask.scores[key] for key in keys]

    def opened(self) -> Scorer:
        """The scorer, loaded when it is first needed: after a trainer has chosen its device."""
        with self._opening:
            if self.scorer is None:
                assert self.origin is not None
                self.scorer = _load(self.origin)
            return self.scorer

    def dimensions(self, wanted: Sequence[str] = ()) -> tuple[str, ...]:
        """Names of the model's dimensions; the model itself need not be loaded for it.

        Args:
            wanted: believed where no server is reached and a reward is declared for that.

        Raises:
            UserError: no such model, or a server that does not answer.
        """
        if self.origin is not None and not self.origin.is_server:
            from reward_model.model.folder import read_rubric

            return read_rubric(self.origin.model).names
        known = getattr(self.opened(), "dimensions", None)
        if known:
            return tuple(known)
        if not self._names:
            (score,) = self.scores([""], ["."])
            if is_fallback(score):
                if wanted:
                    return tuple(wanted)
                raise UnreachableError(
                    f"{score.reason}",
                    expected="a server that answers once: the names of its dimensions are needed",
                )
            self._names = tuple(score.levels)
        return self._names

    def names(self, scores: Sequence[Score], *, alike: bool = False) -> tuple[str, ...]:
        """Names of the dimensions, also where none of the scores has levels; none of them while
        declared rewards stand for a server that was never reached.

        Args:
            scores: that were just given.
            alike: all rows have to have the same keys: where there were none once, there are none
                from then on.

        Raises:
            UserError: other names than were declared.
        """
        if alike and self._nameless:
            return ()
        levels = next((score.levels for score in scores if score.levels), None)
        declared = tuple(getattr(self.scorer, "dimensions", None) or ())
        if levels and declared and set(levels) != set(declared):
            raise UserError(
                f"scores of {', '.join(levels)}",
                expected=f"the dimensions that were declared: {', '.join(declared)}",
            )
        if levels:
            self._names = declared or tuple(levels)
            return self._names
        if any(map(is_fallback, scores)):  # training goes on before the server is first reached
            known = self._names or declared
            if alike and not known:
                self._nameless = True
                logger.warning(
                    "a declared reward before the server was first reached: rows of this process "
                    "will have no dimensions, unless their names are declared (dimensions)"
                )
            return known
        return self.dimensions()

    def check(self, scores: Sequence[Score]) -> None:
        """Whether scores are centred, where that was asked for.

        Raises:
            UserError: a reward that is not.
        """
        if not self.centered:
            return
        if any(
            s.reward is not None and s.uncentered is None and not is_fallback(s) for s in scores
        ):
            raise UserError(
                "rewards that are not centred",
                expected="centred ones, as was asked for",
                mend="start the server with --centered, or make the scorer with centered=True",
            )

    def _answer(self, asks: list[_Ask]) -> None:
        """Score what was asked, each manner in one batch; a failure is only of who asked for it."""
        for manner in dict.fromkeys(ask.manner for ask in asks):
            concerned = [ask for ask in asks if ask.manner == manner]
            texts = {key: text for ask in concerned for key, text in ask.texts.items()}
            try:
                found = self._found(manner, texts)
            except BaseException as error:
                # A server that is not there will not be for each of them either.
                hopeless = isinstance(error, UnreachableError) or not isinstance(error, Exception)
                if len(concerned) > 1 and not hopeless:
                    for ask in concerned:
                        self._answer([ask])
                    continue
                for ask in concerned:
                    ask.error = error
                if not isinstance(error, Exception):
                    raise
                continue
            for ask in concerned:
                ask.scores = found

    def _found(self, manner: Manner, texts: dict[bytes, tuple[Text, Text]]) -> dict[bytes, Score]:
        weights, risk = manner
        known = self._memory.recall((manner, key) for key in texts)
        found = {key: score for (_, key), score in known.items()}
        missing = [key for key in texts if key not in found]
        if missing:
            fresh = self.opened().score_batch(
                [texts[key][0] for key in missing],
                [texts[key][1] for key in missing],
                weights=None if weights is None else dict(weights),
                risk=risk,
            )
            self.check(fresh)
            found.update(zip(missing, fresh, strict=True))
            self._memory.keep(
                {(manner, key): found[key] for key in missing if not is_fallback(found[key])}
            )
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        if self.origin is None:
            raise UserError(
                "a scorer of this process, which cannot be sent to another one",
                expected="the folder of a model or the address of a server",
                mend="make the reward from the path or URL instead of from the scorer",
            )
        return _shared, (self.origin,)


Model: TypeAlias = str | os.PathLike[str] | Scorer | RewardSource
"""Folder of a trained model, address of `reward-model serve`, or a scorer of this process."""

_OPEN: dict[Origin, RewardSource] = {}
_OPEN_LOCK = ForkLock()


def open_source(
    model: Model,
    *,
    device: str | None = None,
    centered: bool = False,
    weights: Mapping[str, float] | None = None,
    risk: float | None = None,
    scalar: bool = True,
) -> RewardSource:
    """The source of a folder, a server or a scorer; nothing is loaded yet.

    Args:
        model: folder, ``owner/name@revision`` on a hub, address, scorer, or a source, which stays
            what it is.
        device: where a folder runs.
        centered: rewards have to be centred and scaled; see `RewardScorer.from_pretrained`.
        weights: that will be asked for; what the folder has stored must be made with them.
        risk: the same.
        scalar: the scalar will be asked for, and not only dimensions, which no weights change.

    Raises:
        UserError: the folder is not there, holds no trained model, or has no mean and standard
            deviation of rewards where they are asked for.
    """
    if isinstance(model, RewardSource):
        return model
    if not isinstance(model, str | os.PathLike):
        if isinstance(model, RewardClient):
            return _shared(Origin(model.url, client=model.settings, centered=centered))
        if isinstance(model, type) or not callable(getattr(model, "score_batch", None)):
            raise UserError(
                f"{model!r} as a model", expected="a folder, the address of a server, or a scorer"
            )
        return RewardSource(scorer=model, centered=centered)
    if is_address(str(model)) and not Path(model).exists():
        address = read_address(str(model))
        settings = () if address.key is None else RewardClient(str(model)).settings
        return _shared(Origin(address.url, client=settings, centered=centered))
    from reward_model.model.folder import read_rubric
    from reward_model.records.hub import model_folder

    model = model_folder(model)
    rubric = read_rubric(model)  # a wrong folder is said now, not after the first rollouts
    if centered:
        from reward_model.model.scale import read_scale

        given = shares(weights or rubric.weights, rubric.names, "this model") if scalar else None
        read_scale([model]).check(given, risk or 0.0)
    return _shared(Origin(str(Path(model).resolve()), device, centered=centered))


def _shared(origin: Origin) -> RewardSource:
    with _OPEN_LOCK:
        return _OPEN.setdefault(origin, RewardSource(origin, centered=origin.centered))


def _load(origin: Origin) -> Scorer:
    if origin.is_server:
        return RewardClient.with_settings(origin.model, origin.client)
    from reward_model.model.scale import read_scale
    from reward_model.score.scorer import RewardScorer

    terms: dict[str, Any] = {}
    if origin.centered:  # those that were asked for, as `open_source` saw
        scale = read_scale([origin.model])
        terms = {"centered": True, "weights": scale.weights, "risk": scale.risk}
    return RewardScorer.from_pretrained(origin.model, device=_device(origin.device), **terms)


def _device(wanted: str | None) -> str | None:
    """A GPU by its number: what loads may be a new thread, whose current GPU is always the first.

    It is found out when the model is loaded and not before: by then a trainer has chosen, and a
    reward that was sent to another process looks for the device there.
    """
    import torch
    from accelerate import PartialState

    from reward_model.model.device import best_device

    if wanted not in (None, "cuda"):
        return wanted
    chosen: torch.device = PartialState().device if PartialState._shared_state else best_device()
    if chosen.type != "cuda" and wanted is None:
        return str(chosen)
    if chosen.type == "cuda" and chosen.index is not None:
        return str(chosen)
    if not torch.cuda.is_available():
        return wanted
    rank = int(os.environ.get("LOCAL_RANK") or -1)
    known = 0 <= rank < torch.cuda.device_count()
    return f"cuda:{rank if known else torch.cuda.current_device()}"
