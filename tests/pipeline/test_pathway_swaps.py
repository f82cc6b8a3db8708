"""Pathway swaps of a run with planted programs: those are found, exchanged genes are not; a stopped call goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import open_atlas
from cellglass.cli.app import main
from cellglass.errors import InputError
from cellglass.pipeline.pathway_swaps import found_by, swap_pathways
from cellglass.pipeline.run import Run


@pytest.fixture
def atlas(small_run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run.folder, tmp_path / "atlas"))


def test_planted_sets_are_found_and_those_of_exchanged_genes_are_not(
    atlas: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    concepts = pd.read_parquet(atlas / "pairs.parquet")["concept"].unique()[:6]
    table = swap_pathways(atlas, concepts, pairs=8, draws=12)
    assert set(table["concept"]) == set(concepts)
    real = table[~table["control"]]
    assert len(real) == len(table) / 2
    p = real.loc[real.groupby("concept")["p"].idxmin(), "p"]
    chance = table[table["control"]].groupby("concept")["p"].min()
    assert p.median() < chance.median()
    rows = pd.read_parquet(atlas / "pathways.parquet")
    rows = rows[(rows["test"] == "gsea") & (rows["ranking"] == "path") & (rows["concept"] == concepts[0])]
    mine = real[real["concept"] == concepts[0]].set_index("term")["gsea_path"]
    stated = rows.set_index(rows["term"].astype(str))["null_q"].reindex(mine.index)
    np.testing.assert_allclose(mine, stated, rtol=1e-6)
    counts = found_by(table)
    assert counts["of"] == len(concepts)
    assert counts["control"] <= 1

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("what is finished is done again")

    monkeypatch.setattr("cellglass.attribution.set_swaps.swap_sets", fail)
    pd.testing.assert_frame_equal(swap_pathways(atlas, concepts, pairs=8, draws=12), table)
    words = ["pathway-swaps", str(atlas), "--concept", str(concepts[0]), "--pairs", "8", "--draws", "12", "--quiet"]
    monkeypatch.setattr("sys.argv", ["cellglass", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    shown = capsys.readouterr().out
    assert "of 1 concepts have a gene set at q < 0.05" in shown
    assert len(pd.read_csv(atlas / "pathway_swaps.csv")) == len(table) // len(concepts)


def test_what_cannot_be_is_said(atlas: Path) -> None:
    with pytest.raises(InputError, match="concept 999 has no pairs of cells"):
        swap_pathways(atlas, [999])
    with pytest.raises(InputError, match="no gene set fits the genes of the atlas"):
        swap_pathways(atlas, [0], gene_sets=["none"])
    shutil.rmtree(atlas / "work" / "cells")
    with pytest.raises(InputError, match="is gone, so there are no counts to swap"):
        swap_pathways(atlas, [0])
    assert open_atlas(atlas).path == atlas
