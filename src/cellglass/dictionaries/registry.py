"""Kind -> class, and the two ways to get a dictionary: `fit` one to activations, or `load` a saved one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cellglass.activations.rows import Ints, Rows, as_rows
from cellglass.dictionaries.base import Dictionary
from cellglass.dictionaries.baselines.ica import ICA, fit_ica
from cellglass.dictionaries.baselines.neurons import Neurons, fit_neurons
from cellglass.dictionaries.baselines.nmf import NMF, fit_nmf
from cellglass.dictionaries.baselines.pca import PCA, fit_pca
from cellglass.dictionaries.baselines.random import RandomDirections, fit_random
from cellglass.dictionaries.files import read_config
from cellglass.dictionaries.kinds.archetypal import Archetypal
from cellglass.dictionaries.kinds.batchtopk import BatchTopK
from cellglass.dictionaries.kinds.crosslayer import CrossLayerTranscoder
from cellglass.dictionaries.kinds.gated import Gated
from cellglass.dictionaries.kinds.jumprelu import JumpReLU
from cellglass.dictionaries.kinds.matryoshka import Matryoshka
from cellglass.dictionaries.kinds.matryoshka_batchtopk import MatryoshkaBatchTopK
from cellglass.dictionaries.kinds.topk import TopK
from cellglass.dictionaries.sparse import SparseConfig, SparseDictionary
from cellglass.dictionaries.training.batches import split_rows
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.dictionaries.training.defaults import default_config, default_training
from cellglass.dictionaries.training.train import Data, train
from cellglass.errors import InputError
from cellglass.progress import Progress, silent

TRAINED: Mapping[str, type[SparseDictionary]] = {
    cls.kind: cls for cls in (TopK, BatchTopK, JumpReLU, Gated, Matryoshka, MatryoshkaBatchTopK, Archetypal)
}
JOINT: Mapping[str, type[SparseDictionary]] = {CrossLayerTranscoder.kind: CrossLayerTranscoder}
BASELINES: Mapping[str, Any] = {cls.kind: cls for cls in (Neurons, PCA, ICA, NMF, RandomDirections)}
KINDS: Mapping[str, Any] = {**TRAINED, **JOINT, **BASELINES}

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
    x: Data,
    *,
    config: SparseConfig | None = None,
    training: TrainConfig | None = None,
    n_components: int | None = None,
    target: Data | None = None,
    rows_train: Ints | Sequence[int] | None = None,
    rows_valid: Ints | Sequence[int] | None = None,
    seed: int = 0,
    checkpoint: Path | str | None = None,
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
        Of a trained kind; None means `default_config` (a cross-layer transcoder needs one).
    training
        How a trained kind is trained; None means `default_training`.
    n_components
        Axes or parts of a baseline; None means as many as the site is wide.
    target
        Of a transcoder: rows of the site that is written, of the same cells.
    rows_train, rows_valid, checkpoint
        As for `cellglass.dictionaries.training.train`; a baseline reads `rows_train` alone.
    seed
        Of everything random.
    progress
        Hears the steps of a training.
    """
    cls = _known(kind, "fit")
    rows = as_rows(x)
    if kind in BASELINES:
        learn, held = split_rows(rows, rows_train, rows_valid, seed)
        chosen = np.setdiff1d(np.arange(rows.n_rows), held) if learn is None else learn
        return _FITTERS[kind](rows, chosen, n_components, seed)
    if config is not None and config.kind != kind:
        raise InputError(f"the config is for kind {config.kind!r}, but kind {kind!r} was asked for")
    if config is None:
        n_rows = rows.n_rows if rows_train is None else len(rows.positions(rows_train))
        config = default_config(rows.width, n_rows, kind=kind)
        if target is not None:
            config = replace(config, d_out=as_rows(target).width)
    dictionary: SparseDictionary = cls(config)
    return train(
        dictionary,
        rows,
        training or default_training(config.n_latents),
        target=target,
        rows_train=rows_train,
        rows_valid=rows_valid,
        seed=seed,
        checkpoint=checkpoint,
        progress=progress,
    )


def _known(kind: str, where: str) -> Any:
    if kind not in KINDS:
        raise InputError(f"{where}: dictionary kind {kind!r} is unknown; the kinds are: {', '.join(KINDS)}")
    return KINDS[kind]
