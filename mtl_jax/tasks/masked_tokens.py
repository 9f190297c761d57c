"""Which word was here? Masked language modelling."""

from typing import Any

import jax
import jax.numpy as jnp

from mtl_jax import losses, metrics
from mtl_jax.tasks.pretext import Examples, Pretext
from mtl_jax.tasks.task import Task
from mtl_jax.typing import Array, PyTree

_METRICS = (metrics.token_accuracy(),)
_UNKNOWN = 1


def masked_tokens(
    name: str,
    num_outputs: int,
    *,
    share: float = 0.15,
    vocabulary: int | None = None,
    **fields: Any,
) -> Task:
    """A task that predicts words which are hidden in a text, from the other words.

    Each word is chosen with probability `share`; a chosen one becomes the unknown word
    (id 1) in 80 % of the cases, another one, drawn evenly, in 10 %, and stays in 10 %.
    The loss is the cross-entropy of the chosen words alone (Devlin et al., section
    3.1). Words that the vocabulary does not know are never chosen.

    Args:
        name: of the task.
        num_outputs: C; words with ids below C are chosen. Ids are by frequency in the
            sets of this library, so that a small C leaves out the rare ones, and most
            of the cost. The head has outputs `[B, L, C]`.
        share: of the words, in (0, 1).
        vocabulary: of the ids that replace words; default: C.
        **fields: other fields of `Task`.

    Returns:
        The task; labels are -1 where no word was chosen.

    Raises:
        ValueError: another share, or fewer outputs than 3; when trained: inputs without
            "tokens".

    Example:
        >>> task = masked_tokens("word", 9, share=0.5)
        >>> text = {"tokens": jnp.array([[2, 3, 4, 5, 6, 1, 0]])}
        >>> (view,), labels = task.pretext.examples(jax.random.key(0), text)
        >>> labels[0, 5:].tolist(), view["tokens"].shape
        ([-1, -1], (1, 7))

    References:
        Devlin, Chang, Lee and Toutanova, BERT: Pre-training of Deep Bidirectional
        Transformers for Language Understanding, NAACL 2019. Differs: the unknown word
        stands for their [MASK], so that a trunk needs no further word.
    """
    if not 0 < share < 1 or num_outputs < 3:
        raise ValueError(
            f"masked_tokens task {name!r} was given share={share}, "
            f"num_outputs={num_outputs}; give a share in (0, 1) and 3 or more outputs "
            "(0 is padding, 1 the unknown word)"
        )

    def examples(key: Array, inputs: PyTree) -> Examples:
        if hasattr(inputs, "shape") or "tokens" not in inputs:
            raise ValueError(
                f"masked_tokens task {name!r} hides words of a text: inputs "
                "{'tokens': [B, L]}. Of arrays, use masked"
            )
        ids = inputs["tokens"]
        of_choice, of_case, of_word = jax.random.split(key, 3)
        chosen = jax.random.bernoulli(of_choice, share, ids.shape)
        chosen &= (ids > _UNKNOWN) & (ids < num_outputs)
        case = jax.random.uniform(of_case, ids.shape)
        least = _UNKNOWN + 1
        drawn = jax.random.randint(of_word, ids.shape, least, vocabulary or num_outputs)
        new = jnp.where(case < 0.8, _UNKNOWN, jnp.where(case < 0.9, drawn, ids))
        view = {**inputs, "tokens": jnp.where(chosen, new, ids).astype(ids.dtype)}
        return Examples((view,), jnp.where(chosen, ids, -1))

    return Task(
        name,
        fields.pop("loss", losses.softmax_cross_entropy(ignore=-1)),
        fields.pop("metrics", _METRICS),
        num_outputs=num_outputs,
        pretext=Pretext(examples),
        **fields,
    )
