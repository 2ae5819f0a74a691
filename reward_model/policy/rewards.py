"""`--reward` as callables for TRL's online trainers.

`read_rewards(["outputs/multidim/best#depth=0.5", "steps.py:valid"], ...)`: models as folders or
addresses, whole, by dimension or by all of them; functions of a Python file; each with a weight.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import math
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from reward_model.model.scale import read_scale
from reward_model.records import UserError
from reward_model.records.errors import first_line
from reward_model.records.hub import model_folder
from reward_model.rlhf.client import RewardClient
from reward_model.rlhf.source import RewardSource, is_address, open_source
from reward_model.rlhf.trl import MultiDimReward, dimension_rewards

_FIRST_WAIT_S = 5.0
_FIRST_ANSWER_S = 30.0
"""What a server may take for one short text before the work begins."""

SCALAR = ""
"""The name that the scalar goes by among those of dimensions."""

Reward = Callable[..., list[float | None]]


class Spec(NamedTuple):
    """What one `--reward` says."""

    model: str
    """Folder or address; of a function its file."""
    dimension: str | None
    """A name, `*` for all, or None for the scalar."""
    function: str | None
    weight: float


class Rewards(NamedTuple):
    """What a trainer is given."""

    functions: list[Reward]
    weights: list[float]


def parse(text: str) -> Spec:
    """What one `--reward` says.

    >>> parse("outputs/best#depth=0.5")
    Spec(model='outputs/best', dimension='depth', function=None, weight=0.5)
    >>> parse("steps.py:valid").function
    'valid'

    Raises:
        UserError: a weight that is no number, or a file without the name of a function.
    """
    place, weight = text, 1.0
    head, equals, tail = text.rpartition("=")
    if equals and "/" not in tail and not tail.endswith(".py"):
        try:
            place, weight = head, float(tail)
        except ValueError:
            raise UserError(f"weight {tail!r} in --reward {text}", expected="a number") from None
        if not math.isfinite(weight):
            raise UserError(f"weight {tail} in --reward {text}", expected="a finite number")
    file, colon, function = place.rpartition(":")
    if colon and file.endswith(".py"):
        return Spec(file, None, function, weight)
    if place.endswith(".py"):
        raise UserError(
            f"--reward {text} without a function", expected="file.py:function", path=Path(place)
        )
    model, hash_, dimension = place.partition("#")
    return Spec(model, dimension if hash_ else None, None, weight)


def read_rewards(
    specs: Sequence[str],
    *,
    risk: float = 0.0,
    centered: bool = False,
    numbers_only: bool = False,
) -> Rewards:
    """The callables of all specs, and the weight of each.

    A weight of `MODEL#*` is shared out by the rubric's weights of its dimensions.

    Args:
        specs: as `parse` reads them.
        risk: standard deviations that a model's reward loses; functions give what they give.
        centered: rewards of models less their mean on reference texts, over the standard deviation.
        numbers_only: the trainer takes no None: an answer without an opinion earns what one on the
            lowest level does, 0 before it is centred.

    Raises:
        UserError: no such model, dimension, file or function, a server that does not answer, or no
            stored mean and standard deviation where rewards are to be centred.
    """
    functions: list[Reward] = []
    weights: list[float] = []
    parsed = [parse(text) for text in specs]
    if (risk or centered) and parsed and all(spec.function is not None for spec in parsed):
        raise UserError(
            f"{'--centered' if centered else f'--risk {risk:g}'} with functions alone",
            expected="a model among the rewards: functions give what they give",
        )
    several = len(parsed) > 1 or any(spec.dimension == "*" for spec in parsed)
    # Beside another reward TRL makes 0 of None, silently: it is said here.
    numbers_only = numbers_only or several
    for spec in parsed:
        if spec.function is not None:
            functions.append(_function(spec))
            weights.append(spec.weight)
            continue
        source = answering(spec.model, risk=risk, centered=centered, scalar=spec.dimension is None)
        lowest: dict[str, float] = {}
        if numbers_only:
            lowest = _lowest(spec.model, centered, source.dimensions())
        if spec.dimension is None:
            none = lowest.get(SCALAR)
            functions.append(MultiDimReward(source, risk=risk or None, no_opinion=none))
            weights.append(spec.weight)
            continue
        names = source.dimensions() if spec.dimension == "*" else (spec.dimension,)
        found = [
            one
            for name in names
            for one in dimension_rewards(source, [name], risk=risk, no_opinion=lowest.get(name))
        ]
        functions += found
        shares = (
            _shares(spec.model, [f.dimension for f in found]) if spec.dimension == "*" else [1.0]
        )
        weights += [spec.weight * share for share in shares]
    _name_apart(functions)
    return Rewards(functions, weights)


def _lowest(model: str, centered: bool, names: Sequence[str]) -> dict[str, float]:
    """What an answer on the lowest level earns: of the scalar and by dimension."""
    if not centered:
        return dict.fromkeys((SCALAR, *names), 0.0)
    if is_address(model):
        with contextlib.closing(RewardClient(model, timeout=_FIRST_ANSWER_S)) as client:
            told = client.lowest()
        if told is None:
            raise UserError(
                f"centred rewards of {model} where every answer needs a number",
                expected="a server that says what its lowest level earns",
                mend="serve with this version, name the folder, or leave out --centered",
            )
        return {SCALAR: told[0], **told[1]}
    scale = read_scale([model_folder(model)]).lowest()
    return {SCALAR: scale["reward"], **scale["centered"]}


def answering(
    model: str, *, risk: float = 0.0, centered: bool = False, scalar: bool = True
) -> RewardSource:
    """A source that was seen to answer.

    Args:
        model: folder or address.
        risk: standard deviations that its rewards lose.
        centered: its rewards have to be centred.
        scalar: the scalar will be asked for, and not only dimensions.

    Raises:
        UserError: no such model, a server that does not answer, or rewards that are not centred.
    """
    if is_address(model):
        # A training waits for a server that comes back; one that was never there is said at once.
        with contextlib.closing(
            RewardClient(model, timeout=_FIRST_ANSWER_S, patience=_FIRST_WAIT_S)
        ) as client:
            client.score_batch(["Which is right?"], ["This one."])
    source = open_source(model, centered=centered, risk=risk, scalar=scalar)
    if centered or not is_address(model):
        source.scores(["Which is right?"], ["This one."], risk=risk or None)
    return source


def _shares(model: str, names: Sequence[str]) -> list[float]:
    if is_address(model):
        return [1 / len(names)] * len(names)
    from reward_model.model.folder import read_rubric

    weights = read_rubric(model).weights
    return [weights[name] for name in names]


def _function(spec: Spec) -> Reward:
    path = Path(spec.model)
    if not path.is_file():
        raise UserError("no such file", expected="a Python file with a reward", path=path)
    module_spec = importlib.util.spec_from_file_location(f"reward_{path.stem}", path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:  # the file is the user's own, and may raise what it likes
        raise UserError(
            f"a file that does not run ({type(error).__name__}: {first_line(error)})",
            expected="Python that defines the reward",
            path=path,
        ) from None
    found = getattr(module, spec.function or "", None)
    if not callable(found):
        raise UserError(
            f"no function {spec.function!r}",
            expected="def NAME(prompts, completions, **kwargs) -> list of numbers",
            path=path,
        )
    reward: Reward = found
    return reward if inspect.iscoroutinefunction(found) else _checked(reward, path)


def _checked(reward: Reward, path: Path) -> Reward:
    """The same function; what it gives is a number (or None) an answer, or said to be none."""

    @functools.wraps(reward)
    def call(prompts: Any, completions: Any, **columns: Any) -> list[float | None]:
        try:
            given = reward(prompts, completions, **columns)
        except Exception as error:  # the function is the user's own, and may raise what it likes
            places = traceback.extract_tb(error.__traceback__)
            own = [p.lineno for p in places if Path(p.filename).resolve() == path.resolve()]
            raise UserError(
                f"a reward that fails ({type(error).__name__}: {first_line(error)})",
                expected="a list of numbers, one an answer",
                path=path,
                line=own[-1] if own else None,
            ) from error
        try:
            values = [None if value is None else float(value) for value in given]
        except (TypeError, ValueError):
            values = []
        infinite = any(value is not None and math.isinf(value) for value in values)
        if len(values) != len(completions) or infinite:
            raise UserError(
                f"a reward that gives {str(given)[:80]} for {len(completions):,} answers",
                expected="a list of finite numbers, one an answer",
                path=path,
            )
        return values

    return call


def _name_apart(functions: Sequence[Any]) -> None:
    """Metrics go by name: two of one name would be one metric."""
    seen: dict[str, int] = {}
    for function in functions:
        name = getattr(function, "__name__", type(function).__name__)
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            function.__name__ = f"{name}_{seen[name]}"
