"""The size of a dictionary of each kind and its training, for a site's width and a number of cells.

The figures behind sizes, in docs/results/dictionary_kinds.md: on scVI's latent space of blood cells about 0.6 active
latents a dimension keep 0.91 of the variance. Why ``consensus`` is the default: docs/results/reproducibility.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cellglass.dictionaries.registry import KINDS, trained
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.errors import InputError

if TYPE_CHECKING:
    from cellglass.dictionaries.sparse import SparseConfig

_FEWEST, _FEWEST_CELLS_A_LATENT = 32, 12
_BIG, _BATCH, _BIG_BATCH = 1024, 512, 4096
_STEPS, _ROWS_A_LATENT = 800, 1500


def default_config(
    width: int, n_cells: int, *, kind: str = "consensus", n_latents: int | None = None, k: int | None = None
) -> SparseConfig:
    """Return the config of a dictionary for a site of `width` and `n_cells` rows to train on.

    Parameters
    ----------
    width
        Width of the site.
    n_cells
        Rows to train on.
    kind
        One of the trained kinds, `registry.trained`; what is special to it is said in its file.
    n_latents
        None: four times the width, at least 128, in powers of two, and at most one for each 12 rows (at least 32);
        of a consensus dictionary 64 more, for what comes back.
    k
        Latents active in a row. None: 0.6 of the width, within 8 and 16, up to width 64; from there on the square
        root of twice the latents (32 of 512, 64 of 2,048); of a consensus dictionary 4 more. Never more than half the
        latents.
    """
    if width < 1 or n_cells < 1:
        raise InputError(f"a dictionary for width {width} and {n_cells} cells cannot be made; both must be at least 1")
    entry = KINDS.find(kind, "default_config")
    more_latents, more_active = entry.more
    if n_latents is None:
        most = _power_of_two(n_cells // _FEWEST_CELLS_A_LATENT, up=False)
        n_latents = max(_FEWEST, min(_power_of_two(max(128, 4 * width), up=True), most)) + more_latents
    if k is None:
        k = min(16, max(8, round(0.6 * width))) if width <= 64 else max(16, round((2 * n_latents) ** 0.5))
        k = max(1, min(k + more_active, n_latents // 2))
    make = entry.default_config
    if make is None:
        raise InputError(f"dictionary kind {kind!r} has no default config; choose one of: {', '.join(trained())}")
    return make(width, n_cells, n_latents, k)


def default_training(n_latents: int) -> TrainConfig:
    """Return how a dictionary of `n_latents` is trained, unless told otherwise.

    Notes
    -----
    Batches of 512 rows below 1,024 latents, of 4,096 from there on; 800 steps, or as many as give 1,500 rows for each
    latent. Small dictionaries, whose few latents must all be of use, go half as fast, and a latent that has been silent
    for 4 batches is revived with more weight: on scVI's latent space that leaves 2 % of 128 latents dead.
    """
    if n_latents < _BIG:
        training = TrainConfig(batch_size=_BATCH, learning_rate=2e-3, aux_weight=2.0, dead_after=4 * _BATCH)
    else:
        training = TrainConfig(batch_size=_BIG_BATCH)
    return replace(training, steps=max(_STEPS, -(-_ROWS_A_LATENT * n_latents // training.batch_size)))


def _power_of_two(n: int, *, up: bool) -> int:
    """Return the power of two at or next to `n`."""
    n = max(1, n)
    return 1 << ((n - 1).bit_length() if up else n.bit_length() - 1)
