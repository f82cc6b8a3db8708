"""The stage that learns: dictionaries from several seeds with their baselines, each one unit.

The cells are split once: four fifths to train on, a tenth to stop training by, a tenth that no dictionary sees, on
which fidelity is measured.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellglass.dictionaries.registry import KINDS
from cellglass.errors import InputError
from cellglass.files import atomic_path, link_or_copy
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.workspace import (
    BASES,
    CONTROL,
    DICTIONARIES,
    SEEDED,
    dictionary_config,
    dictionary_name,
    groups_of_rows,
    held_out_rows,
    open_activations,
)
from cellglass.seeds import derive
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.dictionaries.base import Dictionary

log = logging.getLogger(__name__)


class DictionariesStage(Stage):
    """Trains the dictionary from each seed, and fits the baselines."""

    name = "dictionaries"
    does = "train the dictionaries"
    outputs = (DICTIONARIES,)
    needs = ("model", "activations")
    revision = 4

    def settings(self) -> Any:
        """Return how dictionaries are trained."""
        asked = dataclasses.asdict(self.run.config.dictionary)
        asked = {name: value for name, value in asked.items() if name != "splits"}
        return {**asked, "seed": self.run.config.seed, "batch": self.run.config.cells.batch}

    def units(self) -> Sequence[str]:
        """Return the name of each dictionary."""
        config = self.run.config.dictionary
        once = ("concepts",) if KINDS[config.kind].once else ()
        return [
            dictionary_name(basis, i)
            for basis in (*BASES, CONTROL)
            for i in range(config.seeds if basis in SEEDED and basis not in once else 1)
        ]

    def do(self, name: str, folder: Path) -> None:
        """Write one dictionary; a baseline that cannot be had at this site leaves an empty folder."""
        basis, _, number = name.partition("-")
        seed = derive(self.run.config.seed, "dictionary", int(number or 0))
        with threads(1):
            if basis == "concepts":
                self._train(seed, self.run.unit_folder(self.name) / f"{name}.checkpoint").save(folder)
                return
            try:
                found = self._baseline(basis, seed)
            except InputError as error:
                log.warning("no baseline %s: %s", basis, error)
            else:
                found.save(folder)

    def join(self, made: Mapping[str, Path]) -> None:
        """Put all dictionaries in one folder."""
        with atomic_path(self.run.path(DICTIONARIES)) as temporary:
            temporary.mkdir()
            for name, folder in made.items():
                if any(folder.iterdir()):
                    link_or_copy(folder, temporary / name)

    def _train(self, seed: int, checkpoint: Path) -> Dictionary:
        from cellglass import dictionaries

        rows, seen, valid, config, groups = self._setting()
        return dictionaries.fit(
            self.run.config.dictionary.kind,
            rows,
            config=config,
            rows_train=seen,
            rows_valid=valid,
            seed=seed,
            groups=groups,
            checkpoint=checkpoint,
            progress=self.run.progress,
        )

    def _baseline(self, basis: str, seed: int) -> Dictionary:
        from cellglass import dictionaries

        rows, seen, valid, config, _ = self._setting()
        n_components = {"random": max(1, config.n_latents // 2), CONTROL: config.k}.get(basis)
        kind = "random" if basis == CONTROL else basis
        return dictionaries.fit(kind, rows, n_components=n_components, rows_train=seen, rows_valid=valid, seed=seed)

    def _setting(self) -> Any:
        """Return the site's rows, those to train on and to stop by, how the dictionary is built, and groups of rows."""
        store, site = open_activations(self.run)
        rows = store.rows(site)
        seen, _test, valid = held_out_rows(self.run, store, site)
        config = dictionary_config(self.run, rows.width, len(seen))
        return rows, seen, valid, config, groups_of_rows(self.run, store, site)
