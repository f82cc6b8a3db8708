"""Reads an atlas: `open_atlas(path)` gives an `Atlas`, whose parts are read from disk when they are first asked for.

Imports neither torch nor a model. What is missing, truncated or foreign is an InputError of one line with the way out;
``tables.py`` and ``columns.py`` read what is too large to be read whole.
"""

from __future__ import annotations

import difflib
import html
from collections.abc import Mapping
from functools import cached_property
from itertools import filterfalse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellglass.atlas import schema
from cellglass.atlas.checks import check_concept_table, check_encoding, check_records
from cellglass.atlas.evidence import residual
from cellglass.atlas.manifest import artefact_digest, outputs_of, read_manifest, stated_encoding, unfinished_stages
from cellglass.atlas.reading import AGAIN, reading
from cellglass.atlas.tables import Tables, plain
from cellglass.errors import InputError, listed
from cellglass.files import read_json

if TYPE_CHECKING:
    from anndata import AnnData

    from cellglass.atlas.circuits import Circuits
    from cellglass.cells.cells import CellsLike
    from cellglass.circuits.answers import Target
    from cellglass.circuits.graph import Graph
    from cellglass.circuits.transcoders import Transcoders
    from cellglass.dictionaries.base import Dictionary
    from cellglass.evaluation.audit import Finding
    from cellglass.models.base import CellModel


def open_atlas(path: Path | str, *, unfinished: bool = False) -> Atlas:
    """Open the atlas in the folder `path`.

    Parameters
    ----------
    unfinished : bool
        Open it even if a stage has not ended; what is not there yet then raises when it is asked for.

    Raises
    ------
    InputError
        If there is no atlas, it is not finished, a newer cellglass wrote it, or an artefact is gone.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    if not unfinished:
        running = unfinished_stages(manifest)
        if running:
            raise InputError(f"{folder}: the atlas is not finished (stage {listed(running)}); {AGAIN}")
        needed = [schema.CONCEPTS, schema.EVALUATION, *filterfalse(schema.may_be_missing, outputs_of(manifest))]
        gone = [name for name in dict.fromkeys(needed) if not (folder / name).exists()]
        if gone:
            raise InputError(f"{folder}: the atlas lacks {listed(gone)}; {AGAIN}")
    return Atlas(folder, manifest)


class Atlas:
    """The concepts of a model, their genes and pathways, and how good each claim is.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    manifest : dict
        Versions, seed, configuration and stages.
    tables : Tables
        Genes, pathways, tokens and pairs as they lie on disk.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any]):
        self.path = Path(path)
        self.manifest = dict(manifest)
        self.tables = Tables(self.path)

    @cached_property
    def concepts(self) -> AnnData:
        """AnnData of cells x concepts: activations (CSC) in X, labels in obs, their layout in ``obsm["X_umap"]``."""
        from anndata import read_zarr

        place = self._artefact(schema.CONCEPTS)
        table = reading(place, lambda: read_zarr(str(place)))
        check_concept_table(table.var, str(place))
        if schema.LAYOUT not in table.obsm:
            raise InputError(f"{place}: obsm has no {schema.LAYOUT}; write the atlas again into an empty folder")
        return table

    @cached_property
    def latents(self) -> np.ndarray[Any, Any]:
        """The latent numbers of the concepts, int64, read without their activations."""
        place = self._artefact(schema.CONCEPTS)

        def read() -> np.ndarray[Any, Any]:
            import zarr
            from anndata.io import read_elem

            return np.asarray(read_elem(zarr.open_group(str(place), mode="r")["var"])["latent"], dtype=np.int64)

        return reading(place, read)

    @cached_property
    def expression(self) -> AnnData | None:
        """AnnData of cells x genes with raw counts, or None if they were left out.

        X stays on disk (an anndata sparse dataset, CSC): ``expression[:, "CD3D"].X`` reads one gene; ``to_memory()``
        reads all.
        """
        place = self.path / schema.EXPRESSION
        if not place.exists():
            return None

        def read() -> AnnData:
            import zarr
            from anndata import AnnData
            from anndata.io import read_elem, sparse_dataset

            group = zarr.open_group(str(place), mode="r")
            obs, var = read_elem(group["obs"]), read_elem(group["var"])
            return AnnData(X=sparse_dataset(group["X"]), obs=obs, var=var)

        table = reading(place, read)
        if table.obs_names.equals(self.concepts.obs_names):
            table.obs = self.concepts.obs.copy()
            table.obsm[schema.LAYOUT] = self.concepts.obsm[schema.LAYOUT]
        return table

    @cached_property
    def evaluation(self) -> pd.DataFrame:
        """The metrics: index ``metric``; columns value, spread, null, n, definition (see docs/atlas.md)."""
        place = self._artefact(schema.EVALUATION)
        stated = stated_encoding(self.manifest, schema.EVALUATION)
        check_encoding(stated, schema.JSON_ENCODINGS[schema.EVALUATION], place)
        records = read_json(place, way_out=f"delete it and {AGAIN}")
        table = pd.DataFrame(check_records(records, str(place)), columns=list(schema.METRIC_FIELDS))
        numbers = {name: pd.to_numeric(table[name]).astype("float64") for name in ("value", "spread", "null", "n")}
        return table.assign(**numbers).set_index("metric")

    def genes(
        self, concept: str | int | None = None, *, method: str | None = None, on: str | None = None
    ) -> pd.DataFrame:
        """Return the genes of a concept, the largest score first; of all concepts where `concept` is None.

        Parameters
        ----------
        concept : str or int, optional
            Its name, or its latent number (which is its position where no latent was left out).
        method : {"path", "swap", "knockout", "de"}, optional
        on : {"activation", "preactivation", "expression"}, optional
        """
        wanted = {"concept": None if concept is None else self.latent(concept), "method": method, "on": on}
        return plain(self.gene_rows(wanted))

    def gene_rows(self, wanted: Mapping[str, object]) -> pd.DataFrame:
        """Return rows of genes.parquet, the largest score first, with text as categories."""
        table = self.tables.rows(schema.GENES, wanted)
        return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def pathways(self, concept: str | int | None = None, *, source: str | None = None) -> pd.DataFrame:
        """Return the gene sets that were tested for a concept (for all where it is None), the smallest q first."""
        wanted = {"concept": None if concept is None else self.latent(concept), "source": source}
        return plain(self.pathway_rows(wanted))

    def pathway_rows(self, wanted: Mapping[str, object]) -> pd.DataFrame:
        """Return rows of pathways.parquet, the smallest q first, with text as categories."""
        table = self.tables.rows(schema.PATHWAYS, wanted)
        return table.sort_values(["q", "p"], kind="stable", ignore_index=True)

    def tokens(self, concept: str | int | None = None) -> pd.DataFrame:
        """Return the genes on whose tokens a concept is active (of all where it is None), the largest part first.

        Only atlases of a site with one row for each gene of a cell have any; ``gene_identity`` in ``concepts.var`` says
        how far a concept is no more than its genes.

        Returns
        -------
        pandas.DataFrame
            ``concept``; ``gene``; ``mean``, its mean activation over the gene's tokens; ``active``, the share of them
            on which it is active; ``part``, the gene's share of all its activation; ``n``, the gene's tokens;
            ``symbol``.
        """
        return plain(self.token_rows({"concept": None if concept is None else self.latent(concept)}))

    def token_rows(self, wanted: Mapping[str, object]) -> pd.DataFrame:
        """Return rows of tokens.parquet, the largest part first, with text as categories."""
        table = self.tables.rows(schema.TOKENS, wanted)
        return table.sort_values(["concept", "part"], ascending=[True, False], kind="stable", ignore_index=True)

    def latent(self, concept: str | int) -> int:
        """Return the latent number of a concept, given by name or by latent number."""
        var = self.concepts.var
        if isinstance(concept, int | np.integer):
            if not (var["latent"] == concept).any():
                raise InputError(
                    f"{self.path}: there is no concept with latent number {concept}; "
                    f"they run from {var['latent'].min()} to {var['latent'].max()}"
                )
            return int(concept)
        if concept not in var.index:
            near = difflib.get_close_matches(str(concept), map(str, var.index), n=3, cutoff=0.4)
            hint = f"; did you mean {listed(near)}?" if near else "; atlas.concepts.var_names lists them"
            raise InputError(f"{self.path}: there is no concept {concept!r}{hint}")
        return int(var.loc[concept, "latent"])

    def dictionary(self, name: str = "concepts") -> Dictionary:
        """Return a dictionary of the atlas (this imports torch)."""
        folder = self.path / schema.DICTIONARIES / name
        if not folder.is_dir():
            have = sorted(p.name for p in (self.path / schema.DICTIONARIES).glob("*") if p.is_dir())
            raise InputError(f"{self.path}: there is no dictionary {name!r}; there are: {listed(have)}")
        from cellglass import dictionaries

        loaded: Dictionary = dictionaries.load(folder)
        return loaded

    @property
    def circuits(self) -> Circuits:
        """The circuits that the atlas keeps, by name, as a mapping: graphs of cells, and of classes of cells.

        ``circuits.keep(circuit)`` adds one.
        """
        from cellglass.atlas.circuits import Circuits

        return Circuits(self.path / schema.CIRCUITS)

    def trace(
        self,
        cell: str,
        transcoders: Transcoders,
        target: Target,
        against: Target | None = None,
        *,
        at: str | None = None,
        model: CellModel | None = None,
        cells: CellsLike | None = None,
        **options: Any,
    ) -> Graph:
        """Return the graph of what makes an answer of the atlas's transformer about one of its cells.

        Parameters
        ----------
        cell
            Name of the cell.
        transcoders
            Of the atlas's model; see `cellglass.circuits.train_transcoders`.
        target, against
            What is asked, and what it is held against: ``concept:12`` (or ``concept:NAME``) is the pre-activation of a
            concept of the atlas at the atlas's site; else see `cellglass.circuits.question`.
        at
            Gene at whose token a concept of a token site is asked; where it is strongest by default.
        model
            The atlas's model; the one that it keeps by default.
        cells
            With raw counts; those that it keeps by default.
        **options
            Of `cellglass.trace`: ``features``, ``memory``, ``patterns``, ``delete``,
            ``progress``.

        Raises
        ------
        InputError
            An atlas that keeps no model or no cells where none are given, and whatever `cellglass.trace` refuses.
        """
        from cellglass.atlas.circuits import kept_cells, kept_model, target_of
        from cellglass.cells.read import as_cells
        from cellglass.circuits.objectives import ready
        from cellglass.circuits.tracing import trace

        held = kept_cells(self.path) if cells is None else as_cells(cells)
        found = ready(kept_model(self.path), held) if model is None else model
        asked, other = target_of(self, target, at), None if against is None else target_of(self, against, at)
        return trace(found, held, cell, transcoders, asked, other, **options)

    def verify(self) -> list[str]:
        """Compare every artefact with its checksum in the manifest; return their names, or raise InputError.

        What an atlas may lack (`schema.OPTIONAL`) is compared where it is there, ``work/`` never.
        """
        expected = {
            name: digest
            for name, digest in outputs_of(self.manifest).items()
            if not name.startswith(schema.WORK)
            and not (schema.may_be_missing(name) and not (self.path / name).exists())
        }
        for name, digest in expected.items():
            place = self._artefact(name)
            if artefact_digest(place) != digest:
                raise InputError(f"{place}: its contents changed since it was written; delete it and {AGAIN}")
        return list(expected)

    def audit(self, control: Atlas | None = None) -> list[Finding]:
        """Ask the questions that sank published studies of this atlas.

        Parameters
        ----------
        control : Atlas, optional
            Of the same cells, made with ``--control untrained`` or ``shuffled``.

        Returns
        -------
        list of Finding
            ``question``, what it ``asks``, ``verdict`` (holds, doubtful, fails, not known), the ``figures`` behind it,
            ``where`` they lie, and the ``remedy``; see docs/audit.md for the rules.
        """
        from cellglass.atlas.audit import audit_atlas

        return audit_atlas(self, control)

    def summary(self) -> dict[str, Any]:
        """Return what the atlas holds, as plain values for JSON."""
        concepts = self.concepts
        return {
            "path": str(self.path),
            "schema_version": self.manifest["schema_version"],
            "cellglass_version": self.manifest.get("cellglass_version"),
            "created": self.manifest.get("created"),
            "seed": self.manifest.get("seed"),
            "model": describe(concepts.uns.get(schema.UNS_MODEL)),
            "site": describe(concepts.uns.get(schema.UNS_SITE)),
            "dictionary": describe(concepts.uns.get(schema.UNS_DICTIONARY)),
            "cells": int(concepts.n_obs),
            "concepts": int(concepts.n_vars),
            "alive": int((concepts.var["density"] > 0).sum()),
            "findings": int(((concepts.var["density"] > 0) & ~residual(concepts.var)).sum()),
            "labels": [name for name in concepts.obs if isinstance(concepts.obs[name].dtype, pd.CategoricalDtype)],
            "expression": (self.path / schema.EXPRESSION).exists(),
        }

    def __repr__(self) -> str:
        try:
            facts = self.summary()
        except InputError as error:
            return f"Atlas({str(self.path)!r}: {error})"
        return (
            f"Atlas({str(self.path)!r}: {facts['findings']} concepts, {facts['concepts']} latents, "
            f"in {facts['cells']:,} cells; {facts['model']}, site {facts['site']})"
        )

    def _repr_html_(self) -> str:
        rows = []
        for key, value in self.summary().items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append(f"<tr><th style='text-align:left'>{html.escape(key)}</th><td>{html.escape(text)}</td></tr>")
        return f"<table><caption>cellglass atlas</caption>{''.join(rows)}</table>"

    def _artefact(self, name: str) -> Path:
        place = self.path / name
        if not place.exists():
            raise InputError(f"{self.path}: the atlas lacks {name}; {AGAIN}")
        return place


def describe(value: object) -> str:
    """Return a model, site or dictionary from ``uns`` in a few words: of a mapping its kind and its plain entries.

    A fingerprint is for machines and left out.
    """
    if isinstance(value, Mapping):
        head = str(value.get("name", value.get("kind", "")))
        rest = [
            f"{k} {_plain(v)}"
            for k, v in sorted(value.items())
            if k not in ("name", "kind", "fingerprint") and not isinstance(v, Mapping)
        ]
        return " ".join(filter(None, [head, f"({', '.join(rest)})" if rest else ""]))
    return "" if value is None else str(value)


def _plain(value: object) -> str:
    if isinstance(value, np.ndarray):
        return " ".join(map(str, value.tolist()[:8]))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
