"""Sites are the same where fingerprints say so; cells where names and counts do."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.comparison.overlap import cell_overlap, site_overlap, site_width
from cellglass.atlas.read import Atlas

Make = Callable[..., Atlas]


@pytest.fixture
def changed(atlas_folder: Path) -> Make:
    """Return the synthetic atlas with other things in ``uns``, other digests, and some of its cells."""

    def make(uns: dict[str, Any], outputs: dict[str, str] | None = None, rows: Any = slice(None)) -> Atlas:
        whole = open_atlas(atlas_folder)
        manifest = copy.deepcopy(whole.manifest)
        manifest["stages"]["all"]["outputs"] |= outputs or {}
        atlas = Atlas(atlas_folder, manifest)
        atlas.__dict__["concepts"] = table = whole.concepts[rows].copy()  # as if it had been read
        table.uns |= uns
        return atlas

    return make


def _model(kind: str, fingerprint: str | None) -> dict[str, Any]:
    return {"model": {"kind": kind, **({"fingerprint": fingerprint} if fingerprint else {})}}


SCVI, STRANGER, OLD, EMBEDDING = (
    _model("scvi", "aa"),
    _model("scvi", "bb"),
    _model("scvi", None),
    _model("embedding", "aa"),
)
LATENT, HIDDEN = {"site": {"name": "z", "width": 20}}, {"site": {"name": "encoder.hidden.0", "width": 128}}
READ, MODEL = {"work/activations": "x"}, {"work/model": "m"}


SITES = {
    "one model": (SCVI, {}, SCVI, {}, True, "same scvi model"),
    "an older atlas": (SCVI, MODEL, OLD, MODEL, True, "same scvi model"),
    "the same activations": (EMBEDDING, READ, EMBEDDING, READ, True, "same activations"),
    "other weights": (SCVI, {}, STRANGER, {}, False, "differ in their weights"),
    "other kinds": (SCVI, {}, EMBEDDING, {}, False, "models differ: scvi and embedding"),
    "two embeddings": (EMBEDDING, {}, EMBEDDING, {}, False, "nothing shows"),
    "no word of a model": (OLD, {}, SCVI, {}, False, "does not say"),
    "other sites": (SCVI | LATENT, {}, SCVI | HIDDEN, {}, False, "sites differ: z and encoder.hidden.0"),
}


@pytest.mark.parametrize("case", SITES)
def test_a_site_is_the_same_where_a_fingerprint_shows_it(changed: Make, case: str) -> None:
    uns_a, outputs_a, uns_b, outputs_b, same, words = SITES[case]
    a, b = changed(uns_a, outputs_a), changed(uns_b, outputs_b)
    for one, other in ((a, b), (b, a)):
        found = site_overlap(one, other)
        assert found.same is same
    assert words in site_overlap(a, b).words


def test_the_width_is_read_where_it_is_written(changed: Make) -> None:
    assert site_width(changed({})) is None
    assert site_width(changed({"site": {"name": "z", "width": 20}})) == 20


def test_cells_are_found_by_name_in_any_order_and_checked_by_their_counts(changed: Make, atlas_folder: Path) -> None:
    whole = open_atlas(atlas_folder)
    rows = np.random.default_rng(0).permutation(700)[:300]
    part = changed({}, rows=rows)
    part.__dict__["expression"] = whole.expression.to_memory()[rows]
    found = cell_overlap(whole, part)
    assert whole.concepts.obs_names[found.a].tolist() == part.concepts.obs_names[found.b].tolist()
    assert len(found.a) == 300
    assert (np.diff(found.a) > 0).all()
    assert "300 cells, by name and by their counts of 16 genes" in found.words


def test_cells_that_share_a_name_alone_are_left_out(changed: Make, atlas_folder: Path) -> None:
    whole, other = open_atlas(atlas_folder), changed({})
    counts = whole.expression.to_memory()
    changed_counts = counts.X.tolil()
    heavy = np.argsort(-np.diff(counts.X.indptr), kind="stable")[3]
    changed_counts[100:160, heavy] = 77
    counts.X = changed_counts.tocsc()
    other.__dict__["expression"] = counts
    found = cell_overlap(whole, other)
    np.testing.assert_array_equal(found.a, np.r_[0:100, 160:700])
    np.testing.assert_array_equal(found.a, found.b)
    assert "60 more share a name alone" in found.words


def test_without_counts_in_both_names_must_do(changed: Make, atlas_folder: Path) -> None:
    whole, other = open_atlas(atlas_folder), changed({})
    other.__dict__["expression"] = None
    found = cell_overlap(whole, other)
    assert len(found.a) == 700
    assert "no counts in both to check them by" in found.words


def test_strangers_share_no_cells(changed: Make, atlas_folder: Path) -> None:
    other = changed({})
    other.concepts.obs_names = [f"other {name}" for name in other.concepts.obs_names]
    found = cell_overlap(open_atlas(atlas_folder), other)
    assert len(found.a) == len(found.b) == 0
    assert found.words == "no cell has a name in both"
