"""The two ways to get a dictionary: `fit` one of any kind to activations, or `load` a saved one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np

from cellglass.activations.rows import as_rows
from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.files import read_config
from cellglass.dictionaries.registry import KINDS
from cellglass.dictionaries.sparse import SparseConfig, SparseDictionary
from cellglass.dictionaries.training.batches import split_rows
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.dictionaries.training.defaults import default_config, default_training
from cellglass.dictionaries.training.options import Data, TrainOptions, check_options
from cellglass.dictionaries.training.train import train
from cellglass.errors import InputError


def load(folder: Path | str) -> Dictionary:
    """Return the dictionary that was saved to `folder`; InputError says what is wrong with it."""
    kind = read_config(Path(folder))[0]
    return KINDS.find(kind, str(folder)).cls.load(Path(folder))


def fit(
    kind: str,
    x: Data,
    *,
    config: SparseConfig | None = None,
    training: TrainConfig | None = None,
    n_components: int | None = None,
    **options: Unpack[TrainOptions],
) -> Dictionary:
    """Fit a dictionary of `kind` to activations.

    Parameters
    ----------
    kind
        One of `KINDS`.
    x
        Rows of a store (``store.rows("z")``), or a tensor (rows, width).
    config
        Of a trained kind; None means `default_config` (a cross-layer transcoder needs one).
    training
        How a trained kind is trained; None means `default_training`.
    n_components
        Axes or parts of a baseline; None means as many as the site is wide.
    **options
        See `TrainOptions`; of these a baseline reads `rows_train`, `rows_valid` and `seed`.

    Notes
    -----
    The same rows, settings and seed give the same bytes on one machine with the same number of threads. On another
    processor sums are rounded otherwise, and a training, which is chaotic, comes to other latents.
    """
    entry = KINDS.find(kind, "fit")
    check_options(options)
    rows = as_rows(x)
    if entry.fit is not None:
        seed = options.get("seed", 0)
        learn, held = split_rows(rows, options.get("rows_train"), options.get("rows_valid"), seed)
        chosen = np.setdiff1d(np.arange(rows.n_rows), held) if learn is None else learn
        return entry.fit(rows, chosen, n_components, seed)
    if config is not None and config.kind != kind:
        raise InputError(f"the config is for kind {config.kind!r}, but kind {kind!r} was asked for")
    if config is None:
        learn_rows, target = options.get("rows_train"), options.get("target")
        n_rows = rows.n_rows if learn_rows is None else len(rows.positions(learn_rows))
        config = default_config(rows.width, n_rows, kind=kind)
        if target is not None:
            config = replace(config, d_out=as_rows(target).width)
    if entry.learn is not None:
        return entry.learn(rows, config, training or default_training(config.n_latents), **options)
    assert issubclass(entry.cls, SparseDictionary), "what is trained is sparse"  # noqa: S101
    return train(entry.cls(config), rows, training or default_training(config.n_latents), **options)
