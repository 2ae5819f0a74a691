"""A padding token that transformers' classifiers can tell from the text.

They read the right-most token that is not padding: where padding is the end-of-text token, the
last token of every text would be passed over. `safe_padding(tokenizer, model, ends)` mends that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

NEW = "<|reward_pad|>"


def safe_padding(tokenizer: Any, made: Any, ends: Iterable[int]) -> str:
    """Choose a padding token that ends no text, set it in both, and say which one it is.

    Args:
        tokenizer: changed in place.
        made: the classifier; its embeddings grow where a token has to be added.
        ends: last tokens of texts.
    """
    risky = {*ends, tokenizer.eos_token_id}
    rows = made.get_input_embeddings().num_embeddings
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in risky:
        special = {
            i: str(token) for i, token in tokenizer.added_tokens_decoder.items() if token.special
        }
        special |= dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
        fit = sorted(i for i in special if i not in risky and i < rows)
        # A token that looks like padding is least likely to be in use.
        fit.sort(key=lambda i: ("pad" not in special[i], i != tokenizer.unk_token_id, i))
        if fit:
            tokenizer.pad_token = special[fit[0]]
        else:
            tokenizer.add_special_tokens({"pad_token": NEW})
            if len(tokenizer) > rows:
                made.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    tokenizer.padding_side = "right"
    for config in (made.config, made.config.get_text_config()):
        config.pad_token_id = tokenizer.pad_token_id
    return str(tokenizer.pad_token)
