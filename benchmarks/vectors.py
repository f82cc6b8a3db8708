"""The vectors that dictionaries are trained on in the benchmarks: planted mixtures, and activations of a real model.

A set of vectors is a folder: ``train.npy`` (rows in the order in which every library sees them, float32), ``held.npy``
(rows that none sees), ``planted.npy`` where directions were planted, and ``about.json``. It is written block by block,
so memory stays a few blocks whatever the number of rows, and once: the same settings find the same folder again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy

from cellglass.files import atomic_path
from cellglass.seeds import generator

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "build" / "vectors"
REAL_CELLS = ROOT.parent / "shared" / "data" / "cells" / "kang_ctrl_12261x1287.h5ad"
_BLOCK = 4096

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Planted:
    """Sparse mixtures of planted directions.

    x = sum over j in S of a_j v_j + noise: v are `n_planted` random unit directions, S is `active` of them drawn
    uniformly with replacement, a_j is exponential with mean 1, and the noise is normal with `noise` of the whole power.

    Attributes
    ----------
    d, n_planted, active : int
        Dimensions, directions, and how many of them make up a vector.
    noise : float
        Share of the power that is noise, from 0 to below 1; no dictionary can explain it.
    n_train, n_held : int
        Vectors to train on, each seen once, and vectors held out.
    seed : int
    """

    d: int = 512
    n_planted: int = 4096
    active: int = 32
    noise: float = 0.05
    n_train: int = 122 * 4096
    n_held: int = 16_384
    seed: int = 0


@dataclass(frozen=True)
class Real:
    """Activations of an scVI model that is fitted here, at its encoder's hidden layer.

    Attributes
    ----------
    d : int
        Width of the layer.
    epochs : int
        Epochs in which the model is fitted.
    n_train : int
        Rows of ``train.npy``: epoch after epoch over nine tenths of the cells, each epoch in a new order.
    seed : int
    """

    d: int = 256
    epochs: int = 10
    n_train: int = 244 * 1024
    seed: int = 0


def planted(settings: Planted) -> Path:
    """Return the folder of planted vectors, made where it does not stand yet."""

    def make(folder: Path) -> dict[str, Any]:
        rng = generator(settings.seed, "planted directions")
        directions = rng.standard_normal((settings.n_planted, settings.d), dtype=np.float32)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        np.save(folder / "planted.npy", directions)
        table = torch.from_numpy(directions)
        for name, rows in (("train", settings.n_train), ("held", settings.n_held)):
            blocks = _mixtures(settings, table, rows, generator(settings.seed, "planted vectors", name))
            write_rows(folder / f"{name}.npy", rows, settings.d, blocks)
        return {"rows": "sparse mixtures of planted directions plus noise"}

    return _once("planted", {**asdict(settings), "weights": "exponential"}, make)


def _mixtures(settings: Planted, table: torch.Tensor, rows: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield blocks of vectors."""
    power = settings.active * 2.0  # E a^2 = 2, and directions are nearly orthogonal
    spread = np.float32((power * settings.noise / (1 - settings.noise) / settings.d) ** 0.5)
    for start in range(0, rows, _BLOCK):
        n = min(_BLOCK, rows - start)
        which = torch.from_numpy(rng.integers(0, settings.n_planted, (n, settings.active)))
        weights = torch.from_numpy(rng.standard_exponential((n, settings.active), dtype=np.float32))
        x = torch.nn.functional.embedding_bag(which, table, per_sample_weights=weights, mode="sum").numpy()
        yield x + spread * rng.standard_normal((n, settings.d), dtype=np.float32)


def real(settings: Real) -> Path:
    """Return the folder of a real model's activations, made where it does not stand yet (a minute or two).

    The cells are 12,261 control PBMCs of Kang et al. 2018 where they lie beside the project, the bundled cells else.
    """
    source = REAL_CELLS.name if REAL_CELLS.is_file() else "bundled cells"

    def make(folder: Path) -> dict[str, Any]:
        from cellglass.cells import demo_cells, read_cells
        from cellglass.models import ScviModel
        from cellglass.threads import threads

        site = "encoder.hidden.0"
        cells = read_cells(REAL_CELLS) if REAL_CELLS.is_file() else demo_cells()
        with threads(1):
            model = ScviModel.fit(cells, n_hidden=settings.d, epochs=settings.epochs, seed=settings.seed, device="cpu")
            with torch.no_grad():
                rows = model.activations(model.align(cells), [site])[site].numpy()
        order = generator(settings.seed, "real held-out rows").permutation(len(rows))
        held, learn = np.split(order, [len(rows) // 10])
        write_rows(folder / "held.npy", len(held), settings.d, iter([rows[held]]))
        write_rows(folder / "train.npy", settings.n_train, settings.d, _epochs(rows[learn], settings))
        return {
            "rows": f"{site} of scVI fitted to {source}",
            "cells": len(rows),
            "passes": settings.n_train / len(learn),
        }

    return _once("real", {**asdict(settings), "source": source}, make)


def _epochs(rows: Floats, settings: Real) -> Iterator[Floats]:
    """Yield `rows` in a new order each epoch, `n_train` in all."""
    left, rng = settings.n_train, generator(settings.seed, "real order")
    while left:
        take = rng.permutation(len(rows))[:left]
        left -= len(take)
        yield rows[take]


def write_rows(path: Path, n: int, d: int, blocks: Iterator[Floats]) -> None:
    """Write `blocks`, `n` rows of width `d` together, as one ``.npy`` file, block after block."""
    written = 0
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (n, d)})
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype="<f4").data)
            written += len(block)
    assert written == n, f"{written} rows came, {n} were announced"  # noqa: S101


def _once(name: str, settings: dict[str, Any], make: Callable[[Path], dict[str, Any]]) -> Path:
    """Return the folder for `settings`; `make` fills it where it does not stand yet."""
    text = json.dumps(settings, sort_keys=True)
    folder = VECTORS / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    if not (folder / "about.json").is_file():
        print(f"writing {name} vectors to {folder} ...", flush=True)
        VECTORS.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            about = {**settings, **make(temporary)}
            (temporary / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return folder


def about(folder: Path) -> dict[str, Any]:
    """Return what ``about.json`` of a set of vectors says."""
    content: dict[str, Any] = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    return content
