"""Trains dictionaries of any kind: sets first weights, takes steps, keeps checkpoints, gives back the best weights.

The same rows, config and seed give the same weights bit for bit on one machine with the same number of threads,
whether a training was interrupted or not. It knows nothing of what kinds there are, nor of what the rows mean.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, Unpack

import numpy as np
import torch

from cellglass.activations.rows import SideBySide, as_rows
from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.dictionaries.training import checkpoint as checkpoints
from cellglass.dictionaries.training.batches import (
    BatchSource,
    RowBatches,
    Stream,
    StreamBatches,
    is_stream,
    split_rows,
)
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.dictionaries.training.options import Data, ManyOptions, TrainOptions, check_options
from cellglass.dictionaries.training.parallel import Parallel
from cellglass.dictionaries.training.trainer import Training, scaled
from cellglass.errors import InputError
from cellglass.progress import Progress, silent
from cellglass.threads import threads

D = TypeVar("D", bound=SparseDictionary)

logger = logging.getLogger(__name__)


def train(dictionary: D, x: Data | Stream, config: TrainConfig | None = None, **options: Unpack[TrainOptions]) -> D:
    """Train a new `dictionary` on `x` and return it, frozen; its weights are set from the seed and the data.

    Parameters
    ----------
    dictionary
        What to train; what it held is overwritten.
    x
        Rows of a store (``store.rows("z")``), a tensor (rows, width), or a stream: an iterable of tensors
        (rows, width), or a function that returns one for the number of the pass. Of a stream, the first rows are held
        out. For a transcoder, a stream gives inputs and outputs side by side.
    config
        How; None means `TrainConfig`'s defaults.
    **options
        See `TrainOptions`.

    Raises
    ------
    InputError
        Rows of another width, too few rows, activations that are all equal, a training that runs away, or a checkpoint
        of another training.
    """
    check_options(options)
    many: Any = {name: value for name, value in options.items() if name not in ("seed", "groups")}
    (done,) = train_many([dictionary], x, config, seeds=[options.get("seed", 0)], **many)
    return done


def train_many(
    dictionaries: Sequence[D],
    x: Data | Stream,
    config: TrainConfig | None = None,
    *,
    seeds: Sequence[int],
    **options: Unpack[ManyOptions],
) -> list[D]:
    """Train several dictionaries, such as several seeds, k or kinds, in one pass over the rows.

    Each comes out as `train` would make it from its own first weights and the batches of the first seed. With `columns`
    each learns from its own part of a row, such as the MLP of its layer.

    Parameters
    ----------
    dictionaries
        What to train; all read (and write) the same width.
    seeds
        Of the first weights of each; the first is also that of the order of rows and of the draws.
    x, config
        As for `train`.
    **options
        See `ManyOptions`.
    """
    check_options(options, ManyOptions)
    target, checkpoint = options.get("target"), options.get("checkpoint")
    progress = options.get("progress", silent)
    config = config or TrainConfig()
    if not dictionaries or len(seeds) != len(dictionaries):
        raise InputError(f"there are {len(dictionaries)} dictionaries and {len(seeds)} seeds; give one seed for each")
    biggest = max(dictionaries, key=lambda d: d.n_latents)
    width = max(biggest.d_in, biggest.d_out)
    device = config.torch_device(biggest.n_latents, width)
    parallel = Parallel()
    source = _source(x, options, config, seeds[0], parallel)
    columns = _columns(options, len(dictionaries), source.width)
    for dictionary, own in zip(dictionaries, columns, strict=True):
        _check_width(dictionary, source.width if own is None else len(own), target)
    with threads(config.thread_count(biggest.n_latents, width)):
        trainings = _begin(dictionaries, source, config, seeds, columns, device, parallel)
        path = None if checkpoint is None else Path(checkpoint)
        belongs = _belongs(dictionaries, source, config, seeds, columns) if path is not None else ""
        if path is not None:
            checkpoints.resume(path, belongs, trainings, source)
        _run(trainings, source, config, path, belongs, progress)
    for training in trainings:
        training.finish()
    if path is not None and parallel.rank == 0:
        path.unlink(missing_ok=True)
    return [dictionary.cpu().freeze() for dictionary in dictionaries]


def _source(x: Data | Stream, options: ManyOptions, config: TrainConfig, seed: int, parallel: Parallel) -> BatchSource:
    target, rows_train, rows_valid = options.get("target"), options.get("rows_train"), options.get("rows_valid")
    if is_stream(x):
        if target is not None or rows_train is not None or rows_valid is not None:
            raise InputError("a stream has no rows to name and gives inputs and outputs side by side; pass x alone")
        return StreamBatches(x, batch_size=config.batch_size, share=parallel.share)  # type: ignore[arg-type]  # is_stream
    rows = as_rows(x)  # type: ignore[arg-type]  # is_stream
    if target is not None:
        rows = SideBySide([rows, as_rows(target)])
    learn, held = split_rows(rows, rows_train, rows_valid, seed)
    return RowBatches(
        rows, learn, held, batch_size=config.batch_size, seed=seed, draw=config.draw, share=parallel.share
    )


def _columns(options: ManyOptions, n: int, width: int) -> list[torch.Tensor | None]:
    """Return the columns of each dictionary as checked positions; None for all of them."""
    given = options.get("columns")
    if given is None:
        return [None] * n
    if len(given) != n:
        raise InputError(f"there are {n} dictionaries and columns for {len(given)}; give columns for each")
    found: list[torch.Tensor | None] = []
    for own in given:
        places = np.asarray(own, dtype=np.int64)
        if not len(places) or places.min() < 0 or places.max() >= width:
            raise InputError(f"columns must lie between 0 and {width - 1}, the width of a row less 1")
        found.append(torch.from_numpy(places))
    return found


def _check_width(dictionary: SparseDictionary, width: int, target: Any) -> None:
    if dictionary.is_transcoder:
        if width != dictionary.d_in + dictionary.d_out:
            without = "" if target is not None else "; give the rows of the site that is written as target"
            raise InputError(
                f"the rows have width {width}, but the transcoder reads {dictionary.d_in} and writes "
                f"{dictionary.d_out}{without}"
            )
    elif target is not None:
        raise InputError("target is for transcoders; give the config d_out, the width of the site that is written")
    elif width != dictionary.d_in:
        raise InputError(f"the activations have width {width}, but the dictionary reads width {dictionary.d_in}")


def _begin(
    dictionaries: Sequence[SparseDictionary],
    source: BatchSource,
    config: TrainConfig,
    seeds: Sequence[int],
    columns: Sequence[torch.Tensor | None],
    device: torch.device,
    parallel: Parallel,
) -> list[Training]:
    """Set the stored statistics from the data and the first weights from each seed."""
    mean, variance = source.statistics()
    if not bool(torch.isfinite(variance).all()):
        raise InputError("activations hold NaN or infinity; leave out those rows or repair the model")
    if not float(variance.sum()) > 0:
        raise InputError("all activations are equal, so there is nothing to learn; look at the site or the cells")
    held, sample = source.held(), source.sample()
    trainings = []
    for dictionary, seed, own in zip(dictionaries, seeds, columns, strict=True):
        here = slice(None) if own is None else own
        dictionary.requires_grad_(True).train()
        dictionary.set_statistics(mean[here], variance[here])
        with torch.no_grad():
            rows = scaled(dictionary, sample[:, here])
            dictionary.draw_weights(*rows, seed)
            dictionary.fit_first_scale(*rows)
            dictionary.begin(*rows, seed)
        trainings.append(Training(dictionary.to(device), config, held, parallel, own))
    return trainings


def _run(
    trainings: Sequence[Training],
    source: BatchSource,
    config: TrainConfig,
    path: Path | None,
    belongs: str,
    progress: Progress,
) -> None:
    """Take all steps; all trainings see the same batches."""
    rank, written = trainings[0].parallel.rank, time.monotonic()
    for batch in _batches(trainings, source):
        for training in trainings:
            if not training.done:
                training.step(batch)
        furthest = max(trainings, key=lambda training: training.end)
        progress("train dictionary", furthest.step_number, furthest.end)
        if path is not None and rank == 0 and time.monotonic() - written >= config.checkpoint_seconds:
            checkpoints.write(path, belongs, trainings, source)
            written = time.monotonic()


def _batches(trainings: Sequence[Training], source: BatchSource) -> Iterator[torch.Tensor]:
    """Yield batches until all trainings are done."""
    batches = iter(()) if all(training.done for training in trainings) else source.batches()
    for batch in batches:
        yield batch
        if all(training.done for training in trainings):
            return


def _belongs(
    dictionaries: Sequence[SparseDictionary],
    source: BatchSource,
    config: TrainConfig,
    seeds: Sequence[int],
    columns: Sequence[torch.Tensor | None],
) -> str:
    """Return a digest of what a training depends on: rows (by a sample and their mean), settings and seeds."""
    settings = {name: value for name, value in asdict(config).items() if name != "checkpoint_seconds"}
    what = [[d.kind, asdict(d.config)] for d in dictionaries]
    # NumPy's numbers are none of JSON's.
    text = json.dumps([what, settings, list(seeds), source.width], sort_keys=True, default=float)
    digest = hashlib.sha256(text.encode())
    for own in columns:
        digest.update(b"" if own is None else own.numpy().tobytes())
    for rows in (source.held(), dictionaries[0].centre.cpu()):
        digest.update(np.ascontiguousarray(rows.numpy()).tobytes())
    return digest.hexdigest()
