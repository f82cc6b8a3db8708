"""The stage that attributes every live concept to genes; a block of concepts is one unit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.atlas.schema import GAPS_COLUMNS, GENES, PAIRS, PAIRS_COLUMNS, SCREENS_COLUMNS
from cellglass.files import atomic_path
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.stages.genes_kept import basis, kept_methods, rows_kept, write_note
from cellglass.pipeline.stages.tokens import upper_half
from cellglass.pipeline.workspace import (
    ATTRIBUTION,
    cell_site,
    of_tokens,
    open_activations,
    open_codes,
    open_concepts,
    open_explained,
    open_findings,
    open_model,
    open_thresholds,
)
from cellglass.seeds import derive
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.activations.store import Store
    from cellglass.attribution.work import Work
    from cellglass.cells import Cells
    from cellglass.dictionaries.base import Dictionary
    from cellglass.models.base import CellModel

BLOCK = 16
FEW_GENES, BUDGET = 50, 0.1
"""Swapped genes of a concept, and the share of all swaps that they are, where each swap is a run of a deep model."""
_COLUMNS = {"pairs": PAIRS_COLUMNS, "gaps": GAPS_COLUMNS, "concepts": ("concept",), "screens": SCREENS_COLUMNS}
_TABLES = ("genes", "pairs", "concepts", "gaps", "screens")


class GenesStage(Stage):
    """Attributes concepts to genes; writes genes.parquet, and pairs.parquet with prototypes and partners."""

    name = "genes"
    does = "find the genes behind each concept"
    outputs = (GENES, PAIRS, ATTRIBUTION)
    needs = ("model", "activations", "dictionaries", "codes")
    revision = 6

    def settings(self) -> Any:
        """Return how concepts are attributed, and the labels, by which a concept's threshold is chosen."""
        config = self.run.config
        return {**dataclasses.asdict(config.attribution), "labels": list(config.cells.labels), "seed": config.seed}

    @cached_property
    def all_codes(self) -> sp.csc_matrix:
        """Which cells have which concepts, and how strongly."""
        return open_codes(self.run)

    @cached_property
    def codes(self) -> sp.csc_matrix:
        """The same, for gene tokens without what does not exceed the concept's median."""
        return upper_half(self.all_codes) if of_tokens(*open_activations(self.run)) else self.all_codes

    @cached_property
    def cells(self) -> Cells:
        """The cells that are explained."""
        return open_explained(self.run)

    @cached_property
    def opened(self) -> tuple[CellModel, str, Dictionary, Any]:
        """The model, the site and the dictionary that it is attributed through, and the space of partners."""
        store, site = open_activations(self.run)
        model, dictionary = open_model(self.run), open_concepts(self.run)
        if not of_tokens(store, site):
            return model, site, dictionary, store
        from cellglass.attribution.pooled import Pooled
        from cellglass.attribution.tokens import POOLED, TokenConcepts

        return TokenConcepts(model, site, dictionary), POOLED, Pooled(dictionary.n_latents), _CellSpace(store)

    @cached_property
    def work(self) -> Work:
        """What is attributed, and how; kept from block to block."""
        from cellglass.attribution.tokens import TokenConcepts
        from cellglass.attribution.work import Work

        model, site, dictionary, activations = self.opened
        config, seed = self.run.config.attribution, derive(self.run.config.seed, "attribution")
        if model.linear_front(site) is None:  # all swaps are cheap behind a linear first layer
            config = replace(config, genes=config.genes or FEW_GENES, budget=config.budget or BUDGET)
        if isinstance(model, TokenConcepts):
            config = replace(config, on=("activation",))
        on = open_thresholds(self.run)
        return Work(model, self.cells, site, dictionary, self.codes, activations, config, seed, on)

    def units(self) -> Sequence[str]:
        """Return the number of each block of live concepts; none where there are no counts, and so no genes.

        Rows of methods that an earlier run left and that still hold are not found again: then the name says which are.
        """
        if not self.cells.has_counts:
            return []
        some = "".join(f"-{name}" for name in self._to_do) if self._kept else ""
        return [f"{number:04d}{some}" for number in range(-(-len(self._alive) // BLOCK))]

    def do(self, name: str, folder: Path) -> None:
        """Attribute the concepts of a block."""
        from cellglass.attribution.run import attribute_concepts

        with threads(1):
            found = attribute_concepts(self.work, self._block(name), only=self._to_do, check=self._checked)
        for table in _TABLES:
            getattr(found, table).to_parquet(folder / f"{table}.parquet", index=False)
        (folder / "notes.json").write_text(json.dumps(found.notes))

    def join(self, made: Mapping[str, Path]) -> None:
        """Write the genes and pairs of all blocks; gaps, skipped concepts and notes."""
        from cellglass.atlas.write import write_genes, write_pairs

        folders, kept = list(made.values()), self._kept
        symbols = dict(zip(self.cells.genes.index, self.cells.symbols, strict=True))
        gaps, of_paths, screens = _joined(folders, "gaps"), "path" in kept, _joined(folders, "screens")
        if of_paths:
            gaps = pd.read_parquet(self.run.path(ATTRIBUTION, "gaps.parquet"))
        if "swap" in kept:
            screens = pd.read_parquet(self.run.path(ATTRIBUTION, "screens.parquet"))
        write_genes(self.run.folder, (self._rows(name, folder, kept) for name, folder in made.items()), symbols)
        if not of_paths:  # else they stand as they are: what paths say of pairs is noted there
            write_pairs(self.run.folder, _joined(folders, "pairs"))
        notes = sorted({note for folder in folders for note in json.loads((folder / "notes.json").read_text())})
        if not self.cells.has_counts:
            notes = ["there are no raw counts, so no genes and no pathways of any concept"]
        with atomic_path(self.run.path(ATTRIBUTION)) as temporary:
            temporary.mkdir()
            gaps.to_parquet(temporary / "gaps.parquet", index=False)
            _joined(folders, "concepts").to_parquet(temporary / "concepts.parquet", index=False)
            screens.to_parquet(temporary / "screens.parquet", index=False)
            (temporary / "notes.json").write_text(json.dumps(notes, indent=1))
        write_note(self.run, self._basis, self.run.config.attribution.methods)

    def _block(self, unit: str) -> list[int]:
        """Return the concepts of a unit."""
        number = int(unit.partition("-")[0])
        return self._alive[number * BLOCK : (number + 1) * BLOCK]

    def _rows(self, unit: str, folder: Path, kept: Sequence[str]) -> pd.DataFrame:
        """Return the rows of a unit, with those that are kept."""
        new = pd.read_parquet(folder / "genes.parquet")
        if not kept:
            return new
        new = new[~new["method"].isin(kept)]  # of a join that was killed when all was written
        old = rows_kept(self.run, kept, self._block(unit))
        return pd.concat([frame for frame in (old[list(new)], new) if len(frame)] or [new], ignore_index=True)

    @cached_property
    def _basis(self) -> str:
        """Say what rows of any method depend on."""
        from cellglass.attribution.effects import needed_readouts

        read = needed_readouts(self.work) if self.cells.has_counts else ()
        return basis(self.run, self.needs, self.revision, self.settings(), read)

    @cached_property
    def _kept(self) -> tuple[str, ...]:
        """The methods whose rows an earlier run left, and that are asked for again."""
        asked = self.run.config.attribution.methods
        return tuple(name for name in kept_methods(self.run, self._basis) if name in asked)

    @property
    def _to_do(self) -> tuple[str, ...]:
        """The methods that are asked for and not kept."""
        return tuple(name for name in self.run.config.attribution.methods if name not in self._kept)

    @cached_property
    def _checked(self) -> list[int]:
        """The concepts on which the screen is checked, evenly over those that are attributed."""
        if "swap" not in self._to_do or not self._alive:
            return []
        n = min(self.run.config.attribution.checked, len(self._alive))
        places = ((np.arange(n) + 0.5) / max(n, 1) * len(self._alive)).astype(np.int64)
        return [self._alive[place] for place in places]

    @cached_property
    def _alive(self) -> list[int]:
        alive = np.flatnonzero(np.diff(self.all_codes.indptr))
        if not self.run.config.attribution.residual:
            alive = np.intersect1d(alive, open_findings(self.run))
        found: list[int] = alive.tolist()
        return found


class _CellSpace:
    """The space in which partners of token concepts are looked for: the model's site with one row for each cell."""

    def __init__(self, store: Store) -> None:
        self.store, self.site = store, cell_site(store)

    def read(self, site: str, rows: Any) -> Any:  # noqa: ARG002 (it is always the same)
        """Return the activations of cells."""
        return self.store.read(self.site, rows)


def _joined(folders: Sequence[Path], name: str) -> pd.DataFrame:
    tables = [pd.read_parquet(folder / f"{name}.parquet") for folder in folders]
    if not tables:
        return pd.DataFrame({column: [] for column in _COLUMNS[name]})
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
