"""What is known of a kind of dictionary: its class, how one is configured or fitted by default, whether it has a seed.

A kind is one entry in the registry (``registry.py``), at the end of the file that holds its class. Another package adds
one by an entry point of the group ``cellglass.dictionaries``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cellglass.activations.rows import Ints, Rows
    from cellglass.dictionaries.base import Dictionary
    from cellglass.dictionaries.sparse import SparseConfig

Selection = Literal["topk", "threshold", "gated"]


@dataclass(frozen=True)
class DictionaryKind:
    """A kind of dictionary.

    Attributes
    ----------
    cls : type
        Its class; ``cls.kind`` is its name, and ``cls.load`` reads what ``save`` wrote.
    family : {"trained", "joint", "baseline"}
        Trained by gradient; trained on several sites at once; or fitted as something to compare with.
    default_config : callable, (width, n_rows, n_latents, k) -> SparseConfig, optional
        Of a trained kind: its config for a site of that width, so many rows to train on, and these sizes.
    fit : callable, (rows, chosen rows, number of components, seed) -> Dictionary, optional
        Of a baseline.
    once : bool
        Whether one fit says itself what comes back, so that a run fits it from one seed alone.
    more : (int, int)
        Latents, and active latents, that its default has beside what the width of the site asks for.
    learn : callable, (rows, config, training, **options) -> Dictionary, optional
        How a kind comes to be that is trained in more than one step; the options are `TrainOptions`.
    selection : {"topk", "threshold", "gated"}, optional
        How active latents are picked once it is trained, where that is all that sets it apart from an encoder and a
        decoder: then other libraries can hold it (``exchange/``). None: they cannot.
    exchanged_as : str, optional
        The kind as which other libraries hold it, where that is another one with the same encoding and decoding.
    """

    cls: type[Dictionary]
    family: Literal["trained", "joint", "baseline"]
    default_config: Callable[[int, int, int, int], SparseConfig] | None = None
    fit: Callable[[Rows, Ints, int | None, int], Dictionary] | None = None
    once: bool = False
    more: tuple[int, int] = (0, 0)
    learn: Callable[..., Dictionary] | None = None
    selection: Selection | None = None
    exchanged_as: str | None = None
