"""What a run can be told: one small dataclass for each table of the TOML file, every field with its meaning.

The command line, the TOML file and `cellglass.explain` all end in one `RunConfig`. Only what changes a result is in
here; a stage's fingerprint is made from the tables that it reads. Computes nothing.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from cellglass.attribution.config import AttributionConfig
from cellglass.cells.obs import safe_name
from cellglass.dictionaries.registry import trained
from cellglass.enrichment.config import EnrichmentConfig
from cellglass.errors import InputError
from cellglass.vocabulary import CONTROLS, DICTIONARIES


@dataclass(frozen=True)
class CellsConfig:
    """Which counts of the file, and which of its columns."""

    counts: str = "auto"
    """Where the raw counts are: ``auto``, ``X``, ``raw`` or the name of a layer."""
    gene_ids: str | None = None
    """Column of `var` with the gene ids; by default its index."""
    round: bool = False
    """Round estimated or corrected counts (SoupX, RSEM) to whole numbers; without it they are refused."""
    labels: tuple[str, ...] = ()
    """Columns of `obs` (such as cell type) to compare concepts with."""
    batch: str | None = None
    """Column of `obs` with the batch or donor, given to the model as a covariate."""
    keep_counts: bool = True
    """Keep the counts in the atlas, so that genes can be drawn on the cells. Without them the atlas has no
    ``expression.zarr``, and the counts that the run works on are deleted when it is done."""


@dataclass(frozen=True)
class ModelConfig:
    """Which model, and how it is fitted where it is not given."""

    path: str = "scvi"
    """A kind to fit to the cells (``scvi``, ``scgpt``, ``geneformer``, ``cell2sentence``), the folder of a trained
    model, or ``obsm:KEY`` for an embedding."""
    site: str | None = None
    """Where activations are read; by default the first of the model: ``z`` of scVI, ``cell`` of a transformer, or the
    embedding itself."""
    genes: int | None = None
    """scVI is fitted on this many highly variable genes, by default 3,000, and on strong genes and markers of labels
    that those would lose; on all that are detected where there are fewer. The transformers read all genes."""
    latent: int | None = None
    """Width of scVI's latent space; by default 20."""
    width: int | None = None
    """Width of the hidden layers; by default 128."""
    layers: int | None = None
    """Number of layers; by default 1 hidden layer of scVI, 4 layers of a transformer."""
    epochs: int | None = None
    """Passes over the cells; by default 100 of scVI, and what each transformer needs."""
    control: str | None = None
    """Explain, in place of the model, one that knows nothing: ``untrained``, its network with fresh weights, or
    ``shuffled``, with its weights in random order. What both atlases have too says nothing of the model."""
    tokens_per_cell: int = 64
    """At a site with one row for each gene of a cell, the dictionary learns from at most this many rows of each."""

    def __post_init__(self) -> None:
        if self.control is not None and self.control not in CONTROLS:
            raise InputError(f"model.control is {self.control!r}; it can be {' or '.join(CONTROLS)}")
        _at_least("model", self, genes=1, latent=1, width=1, layers=1, epochs=1, tokens_per_cell=1)


@dataclass(frozen=True)
class DictionaryConfig:
    """The dictionary that becomes the atlas's concepts."""

    kind: str = "consensus"
    """``consensus``, what many fits on halves of the cells have in common; or one plain dictionary: ``matryoshka``
    (nested), ``matryoshka_batchtopk``, ``topk``, ``batchtopk``, ``jumprelu``, ``gated``, ``archetypal``."""
    latents: int | None = None
    """Number of latents; by default what suits the width of the site."""
    k: int | None = None
    """Active latents of a cell; by default what suits the width of the site."""
    seeds: int = 3
    """Dictionaries and baselines fitted, from seeds 0, 1, ...: the first is shown, all give the spread of each metric.
    A consensus dictionary is fitted once."""
    splits: int = 1
    """Splits of the cells into two halves, to each of which the dictionary is fitted anew, to see what comes back."""
    pairs: int = 16
    """Pairs of halves of the cells in which a consensus dictionary looks for concepts; more are surer, and slower."""

    def __post_init__(self) -> None:
        if self.kind not in DICTIONARIES and self.kind not in trained():
            raise InputError(f"dictionary.kind is {self.kind!r}; it can be {', '.join(trained())}")
        _at_least("dictionary", self, seeds=1, splits=0, pairs=1, latents=2, k=1)
        if self.k is not None and self.latents is not None and self.k > self.latents:
            raise InputError(f"dictionary.k is {self.k}, but there are {self.latents} latents; k can be at most that")


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run can be told."""

    cells: CellsConfig = field(default_factory=CellsConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    dictionary: DictionaryConfig = field(default_factory=DictionaryConfig)
    attribution: AttributionConfig = field(default_factory=AttributionConfig)
    enrichment: EnrichmentConfig = field(default_factory=EnrichmentConfig)
    seed: int = 0
    """Random seed."""

    def __post_init__(self) -> None:
        _at_least("", self, seed=0)

    @property
    def columns(self) -> list[str]:
        """The columns of obs that the run reads."""
        return [*self.cells.labels, *self.attribution.match, *([self.cells.batch] if self.cells.batch else [])]

    def with_safe_columns(self) -> RunConfig:
        """Return the same, obs columns by the names that an atlas gives them (`cellglass.cells.obs.safe_name`)."""
        cells, attribution = self.cells, self.attribution
        return dataclasses.replace(
            self,
            cells=dataclasses.replace(
                cells,
                labels=tuple(map(safe_name, cells.labels)),
                batch=None if cells.batch is None else safe_name(cells.batch),
            ),
            attribution=dataclasses.replace(attribution, match=tuple(map(safe_name, attribution.match))),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return nested plain dicts and lists, as JSON holds them."""
        return dataclasses.asdict(self)


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; InputError says what is wrong with the file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; --config takes a TOML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a TOML file: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None


def make_config(tables: dict[str, Any], *, where: str = "options") -> RunConfig:
    """Return the RunConfig for nested `tables`; an unknown name or a wrong type is an InputError that names it.

    Parameters
    ----------
    tables
        Such as ``{"seed": 1, "model": {"epochs": 50}}``.
    where
        What the error names as the place, such as the TOML file.
    """
    config: RunConfig = _build(RunConfig, tables, where, "")
    return config


def merge(tables: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return `tables` with `overrides` on top; an override of None or of an empty list counts as not given."""
    merged = dict(tables)
    for key, value in overrides.items():
        if isinstance(value, dict):
            below = merged.get(key, {})
            merged[key] = merge(below if isinstance(below, dict) else {}, value)
        elif value is not None and value != []:
            merged[key] = value
    return merged


def _build(cls: type[Any], table: Any, where: str, prefix: str) -> Any:
    if not isinstance(table, dict):
        raise InputError(f"{where}: {prefix.rstrip('.')} must be a table, not {table!r}")
    hints = get_type_hints(cls)
    values = {}
    for key, value in table.items():
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else f"; known: {', '.join(hints)}"
            raise InputError(f"{where}: there is no option {prefix}{key}{hint}")
        hint_type = hints[key]
        if dataclasses.is_dataclass(hint_type):
            values[key] = _build(hint_type, value, where, f"{key}.")  # type: ignore[arg-type]  # a class, not an instance
        else:
            values[key] = _cast(hint_type, value, f"{where}: {prefix}{key}")
    return cls(**values)


def _cast(hint: Any, value: Any, name: str) -> Any:
    """Return `value` if it is of type `hint` (lists become tuples)."""
    options = [hint] if get_origin(hint) is tuple else (get_args(hint) or (hint,))
    for option in options:
        if get_origin(option) is tuple:
            if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
                return tuple(value)
        elif option is type(None):
            if value is None:
                return None
        elif option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif isinstance(value, option) and not (option is int and isinstance(value, bool)):
            return value
    wanted = " or ".join(_plain(option) for option in options if option is not type(None))
    raise InputError(f"{name} is {value!r}; it must be {wanted}")


def _plain(option: Any) -> str:
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}.get(
        option, "a list of texts"
    )


def _at_least(table: str, config: Any, **bounds: int) -> None:
    for name, bound in bounds.items():
        value = getattr(config, name)
        if value is not None and value < bound:
            raise InputError(f"{table + '.' if table else ''}{name} is {value}; it must be at least {bound}")
