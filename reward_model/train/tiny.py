"""A tiny encoder with its own tokenizer, built in place from the training texts.

For the quickstart and for tests: no download, a million weights, Chinese and English. It sees
which words and short phrases occur, and order within phrases alone. `build_tiny(texts, folder)`
writes a base model folder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reward_model.records.files import Pathish

if TYPE_CHECKING:
    from reward_model.model.packed import Pooling

VOCABULARY = 1500
"""Tokens for a script: what a few hundred reports have often enough to learn a vector for. More are
long phrases that stand in few texts, fewer leave figures and evidence in pieces (docs/train.md)."""
WIDTH = 256
"""Numbers a token. From half as many levels are learned less well, from more no better."""
POOLING: Pooling = "rms"
"""Without attention every token stands for itself, and a mean of all hides the few that decide: the
root of their mean square learns more from the same texts."""
LAYERS = 0
"""Attention from random weights learns nothing from a few hundred texts in the minute a quickstart
has; embeddings of learned phrases do, ten times as fast. One setting away for larger data."""
POSITIONS = 1024
PHRASES_FROM = 200
"""Different words from which on runs of them are phrases: in a language of fewer, every two words
stand beside each other often, and what a word says would be scattered over its neighbours. Texts
with as many words, and as many Chinese characters, are in two scripts."""
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def build_tiny(
    texts: Iterable[str],
    folder: Pathish,
    *,
    tokenizer: Any = None,
    vocabulary: int | None = None,
    width: int = WIDTH,
    layers: int = LAYERS,
    positions: int = POSITIONS,
) -> Path:
    """Learn a tokenizer from `texts` and write it with a randomly initialised encoder.

    Given one, such as that of a checkpoint, the encoder is for it. Weights come from torch's global
    generator: seed it first.

    Args:
        texts: what is read, to learn the tokenizer from.
        folder: to write to.
        tokenizer: that is known already.
        vocabulary: tokens; if not given, `VOCABULARY` for each script of the texts.
        width, layers: of the encoder.
        positions: most tokens of a text.
    """
    from transformers import BertConfig, BertModel

    from reward_model.model.quiet import quiet

    if tokenizer is None:
        known = list(texts)
        tokenizer = train_tokenizer(known, vocabulary or VOCABULARY * _scripts(known), positions)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        # Heads of 32 as in MiniLM; half of BERT's four times, as little is there to remember.
        num_attention_heads=max(1, width // 32),
        intermediate_size=width * 2,
        max_position_embeddings=positions,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.0,
        pad_token_id=tokenizer.pad_token_id,
    )
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    with quiet():
        BertModel(config, add_pooling_layer=False).save_pretrained(path)
        tokenizer.save_pretrained(path)
    return path


def train_tokenizer(texts: Sequence[str], vocabulary: int, positions: int):  # type: ignore[no-untyped-def]
    """A BPE tokenizer: runs of Chinese or of words are learned as phrases, digits stand alone."""
    from tokenizers import (
        Regex,
        Tokenizer,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(unk_token="[UNK]"))
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    # Pairs are merged over the spaces between words as well (as in SuperBPE, arXiv 2503.13423), so
    # that "fell because of" is a token and a mean over tokens tells some order. Other white space
    # is dropped; a digit is a token, so figures are read alike whatever their size.
    word = r"[\p{L}\p{M}&&[^\p{Han}]]+"
    words = rf"{word}(?: {word})*" if _has_phrases(texts) else word
    pieces = Regex(rf"\p{{Han}}+|{words}|\p{{N}}|[^\s\p{{L}}\p{{M}}\p{{N}}]")
    core.pre_tokenizer = pre_tokenizers.Split(pieces, behavior="removed", invert=True)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    # Chosen here because the trainer breaks ties between equally rare characters at random.
    seen = Counter(c for text in texts for c in core.normalizer.normalize_str(text))
    common = sorted(seen, key=lambda c: (-seen[c], c))[: vocabulary // 2]
    alphabet = [c for c in common if c == " " or not c.isspace()]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=SPECIALS,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=positions,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def _has_phrases(texts: Iterable[str]) -> bool:
    return _different(r"[^\W\d_\u2e80-\u9fff]+", texts) >= PHRASES_FROM


def _scripts(texts: Sequence[str]) -> int:
    """1, or 2 for texts in Chinese and in words alike."""
    han = _different(r"[\u3400-\u9fff]", texts) >= PHRASES_FROM
    return 2 if han and _has_phrases(texts) else 1


def _different(pattern: str, texts: Iterable[str]) -> int:
    """How many matches differ, counted up to `PHRASES_FROM`."""
    seen: set[str] = set()
    for text in texts:
        seen.update(re.findall(pattern, text.lower()))
        if len(seen) >= PHRASES_FROM:
            break
    return len(seen)
