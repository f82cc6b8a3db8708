"""Kind -> class, and the two ways to get a dictionary: `fit` one to activations, or `load` a saved one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellglass.activations.rows import Ints, Rows, as_rows
from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.defaults import default_config
from cellglass.dictionaries.files import read_config
from cellglass.dictionaries.ica import ICA, fit_ica
from cellglass.dictionaries.matryoshka import Matryoshka
from cellglass.dictionaries.neurons import Neurons, fit_neurons
from cellglass.dictionaries.nmf import NMF, fit_nmf
from cellglass.dictionaries.pca import PCA, fit_pca
from cellglass.dictionaries.random import RandomDirections, fit_random
from cellglass.dictionaries.sparse import SparseConfig, SparseDictionary
from cellglass.dictionaries.topk import TopK
from cellglass.dictionaries.train import TrainConfig, split_rows, train
from cellglass.errors import InputError
from cellglass.progress import Progress, silent

TRAINED: Mapping[str, type[SparseDictionary]] = {cls.kind: cls for cls in (TopK, Matryoshka)}
BASELINES: Mapping[str, Any] = {cls.kind: cls for cls in (Neurons, PCA, ICA, NMF, RandomDirections)}
KINDS: Mapping[str, Any] = {**TRAINED, **BASELINES}

_FITTERS: Mapping[str, Callable[[Rows, Ints, int | None, int], Dictionary]] = {
    "neurons": lambda rows, chosen, _count, _seed: fit_neurons(rows, chosen),
    "pca": lambda rows, chosen, count, _seed: fit_pca(rows, chosen, count),
    "ica": fit_ica,
    "nmf": fit_nmf,
    "random": fit_random,
}


def load(folder: Path | str) -> Dictionary:
    """Return the dictionary that was saved to `folder`; InputError says what is wrong with it."""
    kind = read_config(Path(folder))[0]
    dictionary: Dictionary = _known(kind, str(folder)).load(Path(folder))
    return dictionary


def fit(
    kind: str,
    x: Rows | torch.Tensor | np.ndarray[Any, Any],
    *,
    config: SparseConfig | None = None,
    training: TrainConfig | None = None,
    n_components: int | None = None,
    rows_train: Ints | Sequence[int] | None = None,
    rows_valid: Ints | Sequence[int] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Dictionary:
    """Fit a dictionary of `kind` to activations.

    Parameters
    ----------
    kind
        One of `KINDS`.
    x
        Rows of a store (``store.rows("z")``), or a tensor (rows, width).
    config
        Of a trained kind; None means `default_config` (for ``topk`` without its inner prefixes).
    training
        How a trained kind is trained.
    n_components
        Axes or parts of a baseline; None means as many as the site is wide.
    rows_train, rows_valid
        As for `cellglass.dictionaries.train.train`; a baseline reads `rows_train` alone.
    seed
        Of everything random.
    progress
        Hears the steps of a training.
    """
    cls = _known(kind, "fit")
    rows = as_rows(x)
    learn, held = split_rows(rows, rows_train, rows_valid, seed)
    if kind not in TRAINED:
        return _FITTERS[kind](rows, learn, n_components, seed)
    if config is not None and config.kind != kind:
        raise InputError(f"the config is for kind {config.kind!r}, but kind {kind!r} was asked for")
    dictionary: SparseDictionary = cls(config or default_config(rows.width, len(learn), kind=kind))
    return train(dictionary, rows, training, rows_train=learn, rows_valid=held, seed=seed, progress=progress)


def _known(kind: str, where: str) -> Any:
    if kind not in KINDS:
        raise InputError(f"{where}: dictionary kind {kind!r} is unknown; the kinds are: {', '.join(KINDS)}")
    return KINDS[kind]
