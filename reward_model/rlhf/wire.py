"""What goes over the wire to a reward server, and what its answers mean."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from reward_model.records import Text, UserError

if TYPE_CHECKING:
    from reward_model.score.scores import Score

KEY = "REWARD_MODEL_KEY"
"""Environment variable with the server's bearer key, if it asks for one."""


FALLBACK = "the declared reward, for want of a server"
"""How the reason of a score begins that no model gave."""


def is_fallback(score: Score) -> bool:
    """Whether a reward is the declared one, because the server could not be reached."""
    return score.reward is not None and (score.reason or "").startswith(FALLBACK)


MOST_ITEMS = 64
"""Texts of one request: small enough that several are on their way while one is scored."""


MOST_BYTES = 4_000_000
"""Of one request, unless one text alone is larger; servers bound their bodies."""


def joined(parts: Sequence[list[Score]]) -> list[Score]:
    """Scores of several requests, in order."""
    return [score for part in parts for score in part]


def is_broken(item: dict[str, Any]) -> bool:
    """Whether an item cannot be written as UTF-8: half of a surrogate pair is in it."""
    from reward_model.records import texts  # not for every command

    return texts.is_broken(json.dumps(item, ensure_ascii=False))


def plain(text: Text) -> Any:
    """Text as JSON has it."""
    if isinstance(text, str):
        return text
    return [{"role": m.role, "content": m.content} for m in text]


def parts(items: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Requests of a bounded number of texts and bytes.

    >>> [len(part) for part in parts([{"response": "x"}] * 130)]
    [64, 64, 2]
    """
    part: list[dict[str, Any]] = []
    size = 0
    for item in items:
        more = len(json.dumps(item, ensure_ascii=False).encode())
        if part and (len(part) == MOST_ITEMS or size + more > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += more
    if part:
        yield part


def scores(status: int, text: str, expected: int, url: str) -> list[Score]:
    """The scores of an answer, each looked at before it may steer a training.

    Raises:
        UserError: the answer is no scores of this many texts.
    """
    from reward_model.score.scores import Score

    if status != 200:
        mend = f"set {KEY} to the server's key" if status in (401, 403) else ""
        raise UserError(
            f"{status} from {url}: {message(text)}",
            expected="scores of reward-model serve",
            mend=mend,
        )
    known = {field.name for field in fields(Score)}
    try:
        rows = json.loads(text)["scores"]
        scores = [Score(**{k: v for k, v in row.items() if k in known}) for row in rows]
        fine = len(scores) == expected and all(map(is_whole, scores))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        fine = False
    if not fine:
        raise UserError(
            f"an answer that is no scores of {expected} texts ({text[:80]!r})",
            expected="what reward-model serve answers at /v1/score",
            mend=f"see what runs at {url}",
        )
    return scores


def lowest(text: str) -> tuple[float, dict[str, float]] | None:
    """What `/v1/models` says that the lowest level earns, the scalar and by dimension.

    >>> lowest('{"data": [{"lowest": {"reward": -3.5, "centered": {"depth": -2}}}]}')
    (-3.5, {'depth': -2.0})
    """
    try:
        told = json.loads(text)["data"][0]["lowest"]
        found = float(told["reward"]), {str(n): float(v) for n, v in told["centered"].items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None
    return found if all(map(math.isfinite, (found[0], *found[1].values()))) else None


def is_whole(score: Score) -> bool:
    """A reward that is a number with all it was made of, or none with its reason."""
    said = [score.familiarity, score.uncentered]
    if any(one is not None and not _is_number(one) for one in said):
        return False
    if score.reward is None:
        return not score.levels
    # A mean of levels over their scale, but for rounding; below 0 where risk was taken off.
    if score.uncentered is None and not (_is_number(score.reward) and score.reward < 1.001):
        return False
    if score.centered is not None and score.centered.keys() != score.levels.keys():
        return False
    numbers = [score.reward, *score.levels.values(), *score.uncertainty.values()]
    numbers += (score.centered or {}).values()
    chances = list(score.probabilities.values())
    return (
        bool(score.levels)
        and score.levels.keys() == score.uncertainty.keys() == score.probabilities.keys()
        and all(map(_is_number, numbers))
        and all(len(one) > 1 and all(map(_is_number, one)) for one in chances)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def message(text: str) -> str:
    """What a server says of an error, in one line."""
    try:
        error = json.loads(text)["error"]
        said = error.get("message") if isinstance(error, dict) else error
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:197] + "..."


def retry_after(value: str | None) -> float | None:
    """Seconds to wait: a number or a date.

    >>> retry_after("2"), retry_after(None), retry_after("soon")
    (2.0, None, None)
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), 600.0) if math.isfinite(seconds) else None
