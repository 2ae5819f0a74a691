"""Expected levels from the probabilities of the level tokens, where a provider gives them.

`expected_levels(reply, ["depth"], scale=4)` is `{"depth": 3.31}`: the mean of the levels that the
model could have written there, by their probabilities. What is not certain is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from reward_model.llm import Reply

ALTERNATIVES = 5
"""How many alternatives to ask for: as many as OpenAI and DashScope both give."""
ENOUGH = 0.9
"""Least probability that the levels among the alternatives must hold together. With less, the
rest could be other levels that were not listed, and the mean would be a guess."""
_LEVEL = re.compile(r"[\s\":]*([0-9])[\s\",}\]]*")


def expected_levels(reply: Reply, dimensions: Sequence[str], *, scale: int) -> dict[str, float]:
    """Expected level of each dimension whose level is one token with known alternatives.

    >>> from reward_model.llm import Token
    >>> top = (("3", math.log(0.75)), ("2", math.log(0.25)))
    >>> tokens = (Token(text='{"levels": {"depth": ', logprob=0.0),
    ...           Token(text="3", logprob=math.log(0.75), top=top), Token(text="}}", logprob=0.0))
    >>> reply = Reply(text='{"levels": {"depth": 3}}', model="m", tokens=tokens)
    >>> expected_levels(reply, ["depth"], scale=4)
    {'depth': 2.75}
    """
    # From 10 on a level may be several tokens, and "1" the start of another level.
    if not reply.tokens or scale > 9:
        return {}
    said = "".join(token.text for token in reply.tokens)
    found = {}
    for name in dimensions:
        places = list(re.finditer(rf'"{re.escape(name)}"\s*:\s*([0-9])(?![0-9.])', said))
        if len(places) != 1:
            continue
        value = _expected(reply, places[0].start(1), scale)
        if value is not None:
            found[name] = value
    return found


def _expected(reply: Reply, place: int, scale: int) -> float | None:
    """Mean level over the alternatives of the token at a place of the text."""
    end = 0
    for token in reply.tokens or ():
        end += len(token.text)
        if end > place:
            break
    else:
        return None
    weights: dict[int, float] = {}
    for text, logprob in dict([(token.text, token.logprob), *token.top]).items():
        match = _LEVEL.fullmatch(text)
        if match and int(match[1]) <= scale:
            weights[int(match[1])] = weights.get(int(match[1]), 0.0) + math.exp(logprob)
    total = sum(weights.values())
    if not token.top or total < ENOUGH:
        return None
    return round(sum(level * weight for level, weight in weights.items()) / total, 4)
