"""Losses of mean log-probabilities a token, which TRL's trainer does not have: pure tensors.

`D` is the mean of the chosen answer minus that of the rejected one, of the policy or the reference.
Each function gives one loss a row, (B,); their mean is the loss of a batch, so that neither
accumulation nor the number of processes moves it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CLAMP = 10.0
"""Nats a token beyond which a difference counts no further, to both sides."""
KL_SHARE = 0.1
"""Weight of the two-way divergence in `pref_po`."""


def pref_po(
    plain: Tensor,
    guided: Tensor,
    plain_reference: Tensor,
    guided_reference: Tensor,
    *,
    beta: float,
    alpha: float,
) -> Tensor:
    """Prefer the chosen answer, as much as the policy does that was told what is preferred.

    Args:
        plain: D of the policy on the prompt, (B,), nats a token.
        guided: D of the policy on the prompt with the preference.
        plain_reference: D of the reference on the prompt.
        guided_reference: D of the reference on the prompt with the preference.
        beta: slope of the preference.
        alpha: weight of the pull of `plain` up to `guided`.
    """
    own, told = plain.clamp(-CLAMP, CLAMP), guided.clamp(-CLAMP, CLAMP)
    prefer = -F.logsigmoid(beta * own)
    follow = F.relu(told.detach() - own)
    stay = two_way_kl(plain, plain_reference) + two_way_kl(guided, guided_reference)
    return prefer + alpha * follow + KL_SHARE * stay / 2


def two_way_kl(policy: Tensor, reference: Tensor) -> Tensor:
    """KL between (sigmoid D, 1 - sigmoid D) of policy and reference, (B,), nats.

    >>> two_way_kl(torch.tensor([0.0]), torch.tensor([0.0]))
    tensor([0.])
    """
    share = torch.sigmoid(policy)
    yes = F.logsigmoid(policy) - F.logsigmoid(reference)
    no = F.logsigmoid(-policy) - F.logsigmoid(-reference)
    return share * yes + (1 - share) * no


def orpo(chosen: Tensor, rejected: Tensor, *, beta: float) -> Tensor:
    """Odds-ratio preference (Hong et al. 2024): NLL of the chosen answer and the log odds ratio.

    Args:
        chosen: mean log-probability a token of the chosen answer, (B,).
        rejected: of the rejected one.
        beta: weight of the ratio, lambda in the paper.
    """
    odds = (chosen - rejected) - (_log1mexp(chosen) - _log1mexp(rejected))
    return -chosen - beta * F.logsigmoid(odds)


def simpo(chosen: Tensor, rejected: Tensor, *, beta: float, gamma: float) -> Tensor:
    """Simple preference (Meng et al. 2024): the means alone, by a margin of `gamma`."""
    return -F.logsigmoid(beta * (chosen - rejected) - gamma)


def _log1mexp(logps: Tensor) -> Tensor:
    """log(1 - exp(x)) of x < 0, exact near both ends; an answer that is certain stays finite."""
    low = logps.clamp(max=-1e-7)
    return torch.where(low > -0.693, torch.log(-torch.expm1(low)), torch.log1p(-torch.exp(low)))
