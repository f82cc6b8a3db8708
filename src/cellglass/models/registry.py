"""The kinds of models: which there are, which of them a folder holds, and the ways to get one.

A kind is one entry: ``ENTRY`` in ``KIND/kind.py``, or the entry point of another package (group ``cellglass.models``).
Importing this imports no network.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.errors import InputError, listed
from cellglass.models.kind import FitConfig, ModelKind, transformers_type
from cellglass.registry import Registry
from cellglass.vocabulary import MODELS

if TYPE_CHECKING:
    from cellglass.cells.cells import CellsLike
    from cellglass.models.base import CellModel

ADAPTER = "adapter_config.json"

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
        The folder: of cellglass (cfg.json), of scvi-tools' ``SCVI.save`` or ``SCANVI.save`` (model.pt), of scGPT
        (args.json, vocab.json and weights), of Geneformer (config.json of a BERT) or of Cell2Sentence (config.json of
        a GPT-NeoX or a Gemma 2). Of scvi-tools and scGPT also the file of weights, where a folder holds several.

    Raises
    ------
    InputError
        If there is no such folder, no model in it, a damaged one, or one that holds more than weights and arrays.
    """
    given = Path(path)
    if not given.exists():
        raise InputError(f"there is no folder {given}; give the folder of a trained model")
    folder = given.parent if given.is_file() else given
    of_a_file = f"{given} is a file; give the folder that holds the model: {folder}"
    if given.is_file() and not _is_model(folder):
        raise InputError(of_a_file)
    kind = kind_of(folder)
    if kind not in KINDS:
        raise InputError(f"{folder} holds a model of kind {kind!r}; this version reads: {', '.join(KINDS)}")
    if given.is_file() and (not KINDS[kind].takes_file or _is_ours(folder)):
        raise InputError(of_a_file)
    return KINDS[kind].load(given)


def kind_of(folder: Path) -> str:
    """Return the kind of the model in `folder`, told by all its files; InputError where it is none, or not known."""
    from cellglass.models.folder import read_cfg

    if _is_ours(folder):
        kind: str = read_cfg(folder)["kind"]
        return kind
    if (folder / ADAPTER).exists() and not (folder / "config.json").exists():
        raise InputError(
            f"{folder} holds an adapter (LoRA) and not the model; put it in with peft: "
            "PeftModel.from_pretrained(...).merge_and_unload().save_pretrained(...)"
        )
    for name in KINDS:
        if KINDS[name].recognises(folder):
            return name
    found = transformers_type(folder)
    if found is None:
        raise InputError(f"{folder} holds no model that cellglass knows{_below(folder)}; give the folder of a model")
    types = {name: KINDS[name].transformers_types for name in KINDS}
    for name, known in types.items():
        if found in known:
            return name
    reads = " and ".join(f"{KINDS[name].title} ({', '.join(known)})" for name, known in types.items() if known)
    raise InputError(f"{folder} holds a network of type {found!r}; cellglass reads {reads}")


def _below(folder: Path) -> str:
    """Return what lies there instead: models in folders below, or the names of its files."""
    below = [one for one in sorted(folder.iterdir()) if one.is_dir() and _is_model(one)]
    if below:
        return f", but {listed((one.name for one in below), 4)} below it {'do' if len(below) > 1 else 'does'}"
    names = sorted(one.name for one in folder.iterdir())
    return f" (in it: {listed(names, 6)})"


def _is_ours(folder: Path) -> bool:
    from cellglass.models.folder import CFG

    return (folder / CFG).exists()


def _is_model(folder: Path) -> bool:
    return (
        _is_ours(folder)
        or transformers_type(folder) is not None
        or any(KINDS[name].recognises(folder) for name in KINDS)
    )


def is_read_back(kind: str) -> bool:
    """Say whether `load` makes a model of this kind from its folder alone, without its author's code."""
    return kind in KINDS and KINDS[kind].read_back
