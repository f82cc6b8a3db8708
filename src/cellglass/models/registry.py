"""The kinds of models: which there are, which of them a folder holds, and the ways to get one.

A kind is one entry: ``ENTRY`` in ``KIND/kind.py``, or the entry point of another package (group ``cellglass.models``).
Importing this imports no network.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.errors import InputError
from cellglass.models.kind import FitConfig, ModelKind, transformers_type
from cellglass.registry import Registry
from cellglass.vocabulary import MODELS

if TYPE_CHECKING:
    from cellglass.cells.cells import CellsLike
    from cellglass.models.base import CellModel

KINDS: Registry[ModelKind] = Registry("kind of model", "cellglass.models", ModelKind, MODELS)


def fittable() -> list[str]:
    """Return the names of the kinds that can be fitted to cells."""
    return [name for name in KINDS if KINDS[name].fitting is not None]


def kind_to_fit(name: str) -> ModelKind:
    """Return the kind called `name`; InputError unless it can be fitted."""
    if name not in KINDS or KINDS[name].fitting is None:
        raise InputError(f"there is no model {name!r} to fit; there are: {', '.join(fittable())}")
    return KINDS[name]


def fit(name: str, cells: CellsLike, config: FitConfig | None = None) -> CellModel:
    """Fit a model of the kind called `name` to raw counts.

    Parameters
    ----------
    name : str
        One of `fittable`.
    cells : Cells or AnnData
        Raw counts of all genes that were measured (of scVI, of the genes that it is to read).
    config : FitConfig, optional
        What it leaves at None is the kind's default.

    Raises
    ------
    InputError
        If there is no such kind, or a setting is invalid.
    """
    from cellglass.cells import as_cells

    kind = kind_to_fit(name)
    config = config or FitConfig()
    kind.check_fit(config, None)
    assert kind.fitting is not None, "kind_to_fit looked"  # noqa: S101
    given = {key: value for key, value in kind.fitting.defaults.items() if getattr(config, key) is None}
    return kind.fitting.fit(as_cells(cells), replace(config, **given))  # type: ignore[arg-type]  # fields of FitConfig


def load(path: Path | str) -> CellModel:
    """Read a trained model: a folder that cellglass wrote, or one as its authors publish it.

    Parameters
    ----------
    path : Path or str
        The folder: of cellglass (cfg.json), of scvi-tools' ``SCVI.save`` (model.pt), of scGPT (args.json, vocab.json,
        best_model.pt), of Geneformer (config.json of a BERT) or of Cell2Sentence (config.json of a GPT-NeoX or a
        Gemma 2).

    Raises
    ------
    InputError
        If there is no such folder, no model in it, a damaged one, or one that holds more than weights and arrays.
    """
    folder = Path(path)
    if not folder.exists():
        raise InputError(f"there is no folder {folder}; give the folder of a trained model")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give the folder that holds the model")
    kind = kind_of(folder)
    if kind not in KINDS:
        raise InputError(f"{folder} holds a model of kind {kind!r}; this version reads: {', '.join(KINDS)}")
    return KINDS[kind].load(folder)


def kind_of(folder: Path) -> str:
    """Return the kind of the model in `folder`, of cellglass or as published; InputError where it is none."""
    from cellglass.models.folder import CFG, read_cfg

    if not (folder / CFG).exists():
        for name in KINDS:
            if KINDS[name].recognises(folder):
                return name
        found = transformers_type(folder)
        types = {name: KINDS[name].transformers_types for name in KINDS}
        if found is not None:
            for name, known in types.items():
                if found in known:
                    return name
            reads = " and ".join(f"{KINDS[name].title} ({', '.join(known)})" for name, known in types.items() if known)
            raise InputError(f"{folder} holds a network of type {found!r}; cellglass reads {reads}")
    kind: str = read_cfg(folder)["kind"]
    return kind


def is_read_back(kind: str) -> bool:
    """Say whether `load` makes a model of this kind from its folder alone, without its author's code."""
    return kind in KINDS and KINDS[kind].read_back
