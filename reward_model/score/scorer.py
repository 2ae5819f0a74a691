"""RewardScorer: the one way to score. Batch commands, servers and trainers all go through it.

`RewardScorer.from_pretrained("outputs/multidim/best").score(prompt, response).reward` is a number
in [0, 1]; a score depends on its own text alone, whatever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch

from reward_model.data.tokens.inputs import Encoded
from reward_model.model.batches import pad_id
from reward_model.model.device import checked_device, checked_dtype, tokens_at_once
from reward_model.model.familiarity import Familiarity
from reward_model.model.folder import Bundle, load_bundle
from reward_model.model.forward import Forward
from reward_model.model.scale import RewardScale, read_scale
from reward_model.records import Text, UserError
from reward_model.records.chat.turns import judged
from reward_model.records.files import Pathish
from reward_model.records.hub import model_folder
from reward_model.records.texts import Words, as_pairs, as_words, is_broken, unfit
from reward_model.score.memory import ForkLock, Memory, fingerprint
from reward_model.score.scores import Score, Seen, scores_of
from reward_model.score.terms import checked_abstain, checked_risk, shares
from reward_model.stats.bootstrap import Floats


class RewardScorer:
    """Scores responses with a trained model; safe to share between threads.

    Args:
        bundle: a model with its tokenizer, rubric and input builder.
        device: where to run; the model is moved there.
        batch_tokens: most tokens of a batch.
        weights: dimension -> share in the reward instead of the rubric's; those left out count 0.
        risk: lambda of the reward's ``mean - lambda * sd``, a dimension at a time; 0 is the mean.
        cache_size: texts whose scores are remembered; 0 for none.
        abstain: no opinion on texts whose familiarity is below it; None: on every text.
        scale: mean and standard deviation of the reward; rewards are centred and scaled by it.

    Raises:
        UserError: `abstain` for a model that cannot tell texts so unfamiliar.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str | torch.device = "cpu",
        batch_tokens: int | None = None,
        weights: Mapping[str, float] | None = None,
        risk: float = 0.0,
        cache_size: int = 0,
        abstain: float | None = None,
        scale: RewardScale | None = None,
    ) -> None:
        self.device = checked_device(device)
        self.model = bundle.model
        torch.nn.Module.to(self.model, self.device)  # transformers' own `to` has no types
        self.model.eval()
        self.rubric = bundle.rubric
        self.dimensions: tuple[str, ...] = bundle.rubric.names
        self.tokenizer = bundle.tokenizer
        self.builder = bundle.builder
        self.batch_tokens = batch_tokens or tokens_at_once(self.device)
        self._forward = Forward(
            self.model, self.device, pad_id(bundle.tokenizer), self.batch_tokens
        )
        self._weights = self._shares(bundle.rubric.weights if weights is None else weights)
        self._risk = checked_risk(risk) or 0.0
        self._familiarity = bundle.familiarity
        self._abstain = checked_abstain(abstain)
        if self._abstain is not None:
            _check_can_abstain(self._abstain, self._familiarity)
        self.scale = scale
        if scale is not None:
            scale.check(self.weights, self._risk)
        self._memory: Memory[bytes, Seen] = Memory(cache_size)
        # Fast tokenizers refuse to be used by two threads at once ("Already borrowed").
        self._tokenizer_lock = ForkLock()

    @classmethod
    def from_pretrained(
        cls,
        path: Pathish,
        *,
        revision: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        batch_tokens: int | None = None,
        weights: Mapping[str, float] | None = None,
        risk: float = 0.0,
        cache_size: int = 0,
        abstain: float | None = None,
        centered: bool = False,
    ) -> RewardScorer:
        """Load a trained model from its folder or a hub; no code in the folder is ever run.

        Args:
            path: the folder, e.g. ``outputs/multidim/best``, or ``owner/name`` (``@revision``) on
                a hub.
            revision: branch, tag or commit on the hub.
            device: ``cuda``, ``mps`` or ``cpu``; the best there is if not given.
            dtype: of the backbone; bfloat16 on a GPU that computes in it, else float32.
            batch_tokens: see the class, as the rest.
            weights: see the class.
            risk: see the class.
            cache_size: see the class.
            abstain: see the class.
            centered: give ``(reward - mean) / sd`` of the reference texts whose rewards
                `reward-model calibrate --rewards` stored in the folder.

        Raises:
            UserError: there is no such folder, name or device, it holds no model of this package,
                or no stored mean and standard deviation for these weights where they are asked
                for.
        """
        where = checked_device(device)
        folder = model_folder(path, revision)
        scale = read_scale([folder]) if centered else None
        return cls(
            load_bundle(folder, dtype=checked_dtype(dtype, where)),
            device=where,
            batch_tokens=batch_tokens,
            weights=weights,
            risk=risk,
            cache_size=cache_size,
            abstain=abstain,
            scale=scale,
        )

    @property
    def weights(self) -> dict[str, float]:
        """Dimension -> share in the reward; they sum to 1."""
        return dict(zip(self.dimensions, self._weights.tolist(), strict=True))

    @property
    def max_length(self) -> int:
        """Tokens of prompt, evidence and response that are read; more is cut."""
        return self.builder.max_length

    @property
    def risk(self) -> float:
        """Lambda of the reward's `mean - lambda * sd`."""
        return self._risk

    @property
    def abstain(self) -> float | None:
        """Familiarity below which there is no opinion."""
        return self._abstain

    def score(
        self,
        prompt: Words,
        response: Words,
        *,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
    ) -> Score:
        """Score one response; see `score_batch`."""
        return self.score_batch([prompt], [response], weights=weights, risk=risk)[0]

    def score_batch(
        self,
        prompts: Sequence[Words],
        responses: Sequence[Words],
        *,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
        evidence: Sequence[str | None] | None = None,
    ) -> list[Score]:
        """Score responses, one score each in the order given.

        Texts go in batches of `batch_tokens`; identical ones are scored once, and so is what the
        responses to one prompt have in common, where the backbone is a decoder.

        Args:
            prompts: what was asked; an empty text where there is none.
            responses: what is judged: a text, or messages, of which the assistant's words are;
                thoughts before an answer come off. An empty one, or one that ends within its
                thought, gets no opinion (`reward` None), never a number.
            weights: for this call only.
            risk: for this call only.
            evidence: what `reward_model.checks.evidence` found in each text, where it is known;
                it is worked out if not given.
        """
        texts = as_pairs(prompts, responses)
        parts = self._weights if weights is None else self._shares(weights)
        penalty = self._risk if risk is None else checked_risk(risk)
        if self.scale is not None and (weights is not None or risk is not None):
            self.scale.check(dict(zip(self.dimensions, parts.tolist(), strict=True)), penalty)
        asked, answers = [p for p, _ in texts], [r for _, r in texts]
        given = _evidence_of(evidence, len(texts))
        keys = [fingerprint(p, r, e) for (p, r), e in zip(texts, given, strict=True)]
        known = self._memory.recall(keys)
        missing = {
            key: i for i, key in reversed(list(enumerate(keys))) if key not in known
        }  # the first of identical texts stands for all
        anew = [(asked[i], answers[i], given[i]) for i in missing.values()]
        fresh = dict(zip(missing, self._look(anew), strict=True))
        self._memory.keep(fresh)
        known |= fresh
        return self._scores([known[key] for key in keys], parts, penalty)

    def score_of(
        self,
        probabilities: Floats,
        *,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
    ) -> Score:
        """The score that goes with the chance of each level [D, K]."""
        parts = self._weights if weights is None else self._shares(weights)
        penalty = self._risk if risk is None else checked_risk(risk)
        return self._scores([Seen(probabilities)], parts, penalty)[0]

    def encode(self, prompt: Words, response: Words, evidence: str | None = None) -> Encoded:
        """The tokens the model reads of one response; `evidence` where it is known."""
        with self._tokenizer_lock:
            asked = judged(as_words(prompt, "prompt"), as_words(response, "response"))
            return self.builder.one(asked.prompt, asked.answer, evidence)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without the tokens that this model's tokenizer puts around it.

        Raises:
            UserError: an id that the tokenizer does not have, or ids that are no whole text.
        """
        size = len(self.tokenizer)
        strange = next((i for i in ids if not 0 <= i < size), None)
        if strange is not None:
            raise UserError(f"token id {strange}", expected=f"ids from 0 to {size - 1}")
        tokens = self.tokenizer
        before = {tokens.bos_token_id, tokens.cls_token_id}
        after = {tokens.eos_token_id, tokens.sep_token_id, tokens.pad_token_id}
        first, last = 0, len(ids)
        while first < last and ids[first] in before:
            first += 1
        while first < last and ids[last - 1] in after:
            last -= 1
        with self._tokenizer_lock:
            text = tokens.decode(list(ids[first:last]), clean_up_tokenization_spaces=False)
        if "\ufffd" in text:
            raise UserError("token ids that end within a character", expected="ids of whole text")
        return str(text)

    def __reduce__(self) -> NoReturn:
        refuse_to_leave()

    def _look(self, texts: list[tuple[Text, Text, str | None]]) -> list[Seen]:
        """Run the model on texts, with their evidence, that differ from each other."""
        read = [judged(prompt, response) for prompt, response, _ in texts]
        reasons = [one.reason or unfit(one.prompt, one.answer) for one in read]
        seen = [Seen(None, reason=reason) for reason in reasons]
        rows = [i for i, reason in enumerate(reasons) if reason is None]
        with self._tokenizer_lock:
            built = self.builder.build(
                [read[i].prompt for i in rows],
                [read[i].answer for i in rows],
                [texts[i][2] for i in rows],
            )
        encoded = dict(zip(rows, built, strict=True))
        alike: dict[Text, list[int]] = {}
        for i in rows:
            alike.setdefault(read[i].prompt, []).append(i)
        said = np.zeros((len(texts), 2))
        if self._familiarity is not None:
            said[rows] = self._familiarity.read([self.builder.response_ids(one) for one in built])
        for batch, found in self._forward.readings(encoded, alike.values()):
            known: Any = [None] * len(batch)
            if self._familiarity is not None:
                known = self._familiarity.of(found.vectors, said[batch]).tolist()
            finite = np.isfinite(found.chances).all(axis=(1, 2), keepdims=True).ravel().tolist()
            for i, levels, whole, familiar in zip(batch, found.chances, finite, known, strict=True):
                one = encoded[i]
                if whole:
                    cuts = one.prompt_cut, one.response_cut
                    seen[i] = Seen(levels, *cuts, familiarity=familiar)
                else:
                    reason = "the model's output is not a number"
                    seen[i] = Seen(None, one.prompt_cut, one.response_cut, reason)
        return seen

    def probabilities(self, encoded: Sequence[Encoded]) -> Floats:
        """One padded batch through the model: [B, D, K], each head a distribution over levels."""
        return self._forward.padded(encoded)

    def _scores(self, seen: Sequence[Seen], parts: Floats, risk: float) -> list[Score]:
        made = scores_of(seen, self.dimensions, parts, risk, top=self.rubric.scale)
        return [score.by(self.scale).unless_unfamiliar(self._abstain) for score in made]

    def _shares(self, weights: Mapping[str, float]) -> Floats:
        known = shares(weights, self.dimensions, "this model")
        return np.array([known.get(name, 0.0) for name in self.dimensions])


def refuse_to_leave() -> NoReturn:
    """What is said where a loaded model is to be pickled or copied.

    Raises:
        UserError: always.
    """
    raise UserError(
        "a loaded scorer, which cannot be copied or sent to another process",
        expected="the folder of the model, to load it there",
        mend="send the path and call from_pretrained in the other process; rewards for trainers "
        "that are made from a path can be sent themselves",
    )


def _evidence_of(evidence: Sequence[str | None] | None, count: int) -> list[str | None]:
    if evidence is None:
        return [None] * count
    found: list[Any] = [] if isinstance(evidence, str) else list(evidence)
    fine = all(one is None or (isinstance(one, str) and not is_broken(one)) for one in found)
    if len(found) != count or not fine:
        raise UserError(
            f"evidence that is no list of {count} texts",
            expected="a text or None for each response",
        )
    return found


def _check_can_abstain(abstain: float, known: Familiarity | None) -> None:
    if known is None:
        raise UserError(
            f"abstain {abstain:g}, and a model that knows no familiarity",
            expected="one whose folder holds familiarity.safetensors",
            mend="train it anew with texts to validate on, or leave out abstain",
        )
    if abstain <= known.least:
        raise UserError(
            f"abstain {abstain:g}, and a model validated on {len(known.tail)} texts",
            expected=f"more than {known.least:.3g}: it tells no text to be less familiar than that",
            mend="validate on more texts (--eval-share), or abstain sooner",
        )


__all__ = ["RewardScorer", "Score", "Words"]
