"""Plots show what the atlas says; axes are given and taken, files are written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

import cellglass
from cellglass.atlas import Atlas, open_atlas
from cellglass.errors import InputError
from synthetic import make_atlas

mpl.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return open_atlas(make_atlas(tmp_path_factory.mktemp("pl") / "atlas", n_cells=150))


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def _concept(atlas: Atlas) -> str:
    return str(atlas.concepts.var_names[0])


def test_a_concept_on_its_cells(atlas: Atlas, tmp_path: Path) -> None:
    figure, given = plt.subplots()
    ax = cellglass.pl.embedding(atlas, _concept(atlas), ax=given, save=tmp_path / "cells.svg")
    assert ax is given
    silent, active = ax.collections[:2]
    value = atlas.concepts[:, _concept(atlas)].X.toarray().ravel()
    assert len(silent.get_offsets()) == (value == 0).sum()
    np.testing.assert_allclose(active.get_array(), np.sort(value[value > 0]))
    np.testing.assert_allclose(active.get_offsets()[-1], atlas.concepts.obsm["X_umap"][value.argmax()])
    assert "<svg" in (tmp_path / "cells.svg").read_text(encoding="utf-8")[:600]
    assert figure.axes[0] is given


@pytest.mark.parametrize("values", ["mean", "share"])
def test_a_matrix_of_means_and_shares(atlas: Atlas, values: str) -> None:
    ax = cellglass.pl.matrix(atlas, "cell type", values=values)
    image = ax.images[0].get_array()
    rows, columns = ([text.get_text() for text in labels] for labels in (ax.get_yticklabels(), ax.get_xticklabels()))
    concepts = atlas.concepts
    for concept in rows[::5]:
        x = concepts[:, concept].X.toarray().ravel()
        on = x >= concepts.var.loc[concept, "threshold"]
        means = np.array(
            [(x if values == "mean" else on & (x > 0))[(concepts.obs["cell type"] == c)].mean() for c in columns]
        )
        expected = means / means.max() if values == "mean" else means
        np.testing.assert_allclose(image[rows.index(concept)], expected, rtol=1e-5, atol=1e-7)
    assert sorted(columns) == sorted(concepts.obs["cell type"].cat.categories)


def test_genes_with_their_errors(atlas: Atlas) -> None:
    ax = cellglass.pl.genes(atlas.path, _concept(atlas), n=8, method="swap")
    rows = atlas.genes(_concept(atlas), method="swap")
    rows = rows.iloc[np.argsort(-rows["score"].abs(), kind="stable")[:8]][::-1]
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], rows["effect"])
    assert [text.get_text() for text in ax.get_yticklabels()] == rows["symbol"].astype(str).tolist()
    blue = [bar.get_facecolor() == mpl.colors.to_rgba("#0072B2") for bar in ax.patches]
    assert blue == ((rows["q"] < 0.05) & (rows["score"] >= 0)).tolist()
    with pytest.raises(InputError, match="not attributed by 'magic'; methods that ran: "):
        cellglass.pl.genes(atlas, _concept(atlas), method="magic")


def test_gene_sets_the_surest_on_top(atlas: Atlas) -> None:
    ax = cellglass.pl.pathways(atlas, _concept(atlas), n=4)
    where = ax.collections[0].get_offsets()
    assert len(where) == 4
    assert (np.diff(where[:, 0]) >= 0).all()
    table = atlas.pathways(_concept(atlas))
    assert {text.get_text() for text in ax.get_yticklabels()} <= set(table["term"].astype(str).str[:48])


def test_what_comes_back_beside_rivals(atlas: Atlas) -> None:
    ax = cellglass.pl.reproducibility(atlas)
    names = [text.get_text() for text in ax.get_yticklabels()]
    records = atlas.evaluation
    for name, bar in zip(names, ax.patches, strict=True):
        assert bar.get_width() == pytest.approx(records.loc[f"reproducibility.{name}", "value"])
    assert "concepts" in names
    assert len(names) >= 4


def test_what_cannot_be_drawn_is_said(atlas: Atlas, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no label 'tissue'; labels are: "):
        cellglass.pl.matrix(atlas, "tissue")
    with pytest.raises(InputError, match="choose mean or share"):
        cellglass.pl.matrix(atlas, "phase", values="sum")
    with pytest.raises(InputError, match="cannot be saved there"):
        cellglass.pl.embedding(atlas, _concept(atlas), save=tmp_path / "x.nothing")
    with pytest.raises(InputError, match="no concept"):
        cellglass.pl.embedding(atlas, "nothing like it")
