"""The stage that asks what comes back: dictionaries fitted to halves of the cells, and how often each concept is found.

The cells to learn from are halved, by donor where a batch column has at least four values; each half is one unit. What
is fitted to a half is what a run shows, chosen anew, and beside it the trivial bases. Cells that neither half saw are
those that stop training and those that are held out.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellglass.errors import InputError
from cellglass.files import atomic_path, link_or_copy
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.workspace import (
    HALVES,
    REPRODUCIBILITY,
    RIVALS,
    by_donor,
    cell_of_rows,
    dictionary_config,
    groups_of_rows,
    held_out_rows,
    open_activations,
    open_concepts,
    open_dictionaries,
    open_explained,
)
from cellglass.seeds import derive, generator
from cellglass.threads import threads

log = logging.getLogger(__name__)

_TABLE = "table"
_SIDES = ("a", "b")


class ReproducibilityStage(Stage):
    """Fits dictionaries to halves of the cells; writes how often each concept comes back."""

    name = "reproducibility"
    does = "ask which concepts come back in other cells"
    outputs = (REPRODUCIBILITY, HALVES)
    needs = ("model", "activations", "dictionaries")
    revision = 2

    def settings(self) -> Any:
        """Return how dictionaries are fitted, and what the halves depend on."""
        config = self.run.config
        return {**dataclasses.asdict(config.dictionary), "seed": config.seed, "batch": config.cells.batch}

    def units(self) -> Sequence[str]:
        """Return the table of the dictionary that is shown, and each half of each split."""
        splits = range(self.run.config.dictionary.splits)
        return [_TABLE, *(f"split-{i}-{side}" for i in splits for side in _SIDES)]

    def do(self, name: str, folder: Path) -> None:
        """Write the table, or the dictionaries of a half."""
        with threads(1):
            if name == _TABLE:
                self._table().to_parquet(folder / Path(REPRODUCIBILITY).name, index=False)
                return
            _, split, side = name.split("-")
            self._half(int(split), _SIDES.index(side), folder)

    def join(self, made: Mapping[str, Path]) -> None:
        """Put the dictionaries of all halves in one folder."""
        link_or_copy(made[_TABLE] / Path(REPRODUCIBILITY).name, self.run.path(REPRODUCIBILITY))
        with atomic_path(self.run.path(HALVES)) as temporary:
            temporary.mkdir()
            for name, folder in made.items():
                if name != _TABLE:
                    link_or_copy(folder, temporary / name)

    def _half(self, split: int, side: int, folder: Path) -> None:
        """Fit to one half of the cells what a run shows, and its rivals; one that cannot be fitted is left out."""
        from cellglass import dictionaries
        from cellglass.dictionaries.kinds.consensus import ConsensusConfig

        store, site = open_activations(self.run)
        rows, asked = store.rows(site), self.run.config.dictionary
        seen, _, valid = held_out_rows(self.run, store, site)
        mine = seen[self._sides(split, cell_of_rows(store, site, seen)) == side]
        seed = derive(self.run.config.seed, "half", split, side)
        config = dictionary_config(self.run, rows.width, len(mine))
        if isinstance(config, ConsensusConfig):
            config = replace(config, with_residual=False)  # residual latents are no findings
        for basis in ("concepts", *RIVALS):
            given: dict[str, Any] = {"rows_train": mine, "rows_valid": valid, "seed": seed}
            if basis == "concepts":
                groups = groups_of_rows(self.run, store, site)
                given |= {"config": config, "groups": groups, "progress": self.run.progress}
            elif basis == "random":
                given["n_components"] = max(1, config.n_latents // 2)
            try:
                found = dictionaries.fit(asked.kind if basis == "concepts" else basis, rows, **given)
            except InputError as error:
                log.warning("no %s for a half of the cells: %s", basis, error)
                continue
            found.save(folder / basis)

    def _sides(self, split: int, cell: Any) -> Any:
        """Return for each cell that is learnt from, 0 or 1: the half that it belongs to."""
        rng = generator(self.run.config.seed, "halves", split)
        obs = open_explained(self.run).obs
        if by_donor(self.run):
            donor, number = np.unique(obs[self.run.config.cells.batch].astype(str).to_numpy(), return_inverse=True)
            side = np.empty(len(donor), dtype=np.int64)
            side[rng.permutation(len(donor))] = np.arange(len(donor)) % 2
            return side[number[cell]]
        side = np.empty(len(obs), dtype=np.int64)
        side[rng.permutation(len(obs))] = np.arange(len(obs)) % 2
        return side[cell]

    def _table(self) -> pd.DataFrame:
        """Return for each latent how often it comes back, and by which rule; NaN of one plain dictionary."""
        from cellglass.dictionaries.consensus.recurrence import BARS
        from cellglass.dictionaries.kinds.consensus import REPRODUCIBLE, Consensus
        from cellglass.evaluation.consensus import THRESHOLD, consensus, needed
        from cellglass.evaluation.labels import sample_rows
        from cellglass.evaluation.run import encode_rows

        shown = open_concepts(self.run)
        if isinstance(shown, Consensus):
            table = pd.DataFrame({"latent": np.arange(shown.n_latents, dtype=np.int32)})
            for name in ("reproducibility", "cluster_correlation", "agreement"):
                table[name] = getattr(shown, name).numpy()
            by = "donors" if by_donor(self.run) else "halves"
            rule: dict[str, Any] = {"by": by, "n": shown.config.pairs, "least": REPRODUCIBLE}
            table["residual"] = table["latent"] >= shown.n_findings
            return table.assign(**rule, correlation=min(BARS.values()))
        store, site = open_activations(self.run)
        rows = sample_rows(store.n_rows(site), derive(self.run.config.seed, "evaluation"))
        codes = [encode_rows(one, partial(store.read, site), rows) for one in open_dictionaries(self.run, "concepts")]
        found, others = consensus(codes), len(codes) - 1
        table = found[["latent"]].assign(residual=False)
        table["reproducibility"] = (found["found_in"] / (others or np.nan)).astype(np.float32)
        least = needed(others) / others if others else np.nan
        return table.assign(by="seeds", n=others, least=least, correlation=THRESHOLD)
