"""A method of attribution is added to an atlas that is there: what others found stays, as if all had been asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.manifest import read_manifest
from cellglass.attribution.run import attribute_concepts
from cellglass.errors import InputError
from cellglass.files import sha256
from cellglass.pipeline.explain import STAGES, add_methods
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.stages.genes import GenesStage
from cellglass.pipeline.workspace import CELLS


@pytest.fixture
def atlas(small_run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run.folder, tmp_path / "atlas"))


def test_rows_of_others_stay_and_it_is_as_if_all_had_been_asked_for(
    atlas: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, pairs = pd.read_parquet(atlas / "genes.parquet"), sha256(atlas / "pairs.parquet")
    stages = read_manifest(atlas)["stages"]
    asked: list[tuple[str, ...] | None] = []
    monkeypatch.setattr(
        "cellglass.attribution.run.attribute_concepts",
        lambda *given, only=None, **how: (asked.append(only), attribute_concepts(*given, only=only, **how))[1],
    )
    opened = add_methods(atlas, ["gradient", "correlation"], report=False)
    assert set(asked) == {("gradient", "correlation")}
    after = pd.read_parquet(atlas / "genes.parquet")
    old = after["method"].isin(set(before["method"]))
    pd.testing.assert_frame_equal(after[old].reset_index(drop=True).astype(before.dtypes), before)
    assert sha256(atlas / "pairs.parquet") == pairs
    now = read_manifest(atlas)
    assert all(now["stages"][name] == stages[name] for name in ("cells", "model", "dictionaries", "codes"))
    assert now["config"]["attribution"]["methods"] == ["path", "swap", "knockout", "de", "gradient", "correlation"]
    assert {"gradient", "correlation"} <= set(pd.read_parquet(atlas / "pathways.parquet")["ranking"])
    concept = int(after["concept"].iloc[0])
    found = opened.genes(concept, method="correlation")
    assert np.array_equal(found["score"], -np.sort(-found["score"]))

    (atlas / "pairs.parquet").unlink()  # what is left is not whole, so nothing of it is kept
    asked.clear()
    config = Run(atlas, small_config_of(now), {"cells": None, "model": None})
    run_stages(config, [GenesStage], after=STAGES[: STAGES.index(GenesStage)])
    assert {set(one or ()) == set(now["config"]["attribution"]["methods"]) for one in asked} == {True}
    assert sha256(atlas / "genes.parquet") == now["stages"]["genes"]["outputs"]["genes.parquet"]
    assert sha256(atlas / "pairs.parquet") == pairs


def small_config_of(manifest: dict[str, object]) -> object:
    from cellglass.pipeline.config import make_config

    return make_config(manifest["config"])  # type: ignore[arg-type]


def test_what_cannot_be_added_is_said_and_nothing_is_lost(atlas: Path, tmp_path: Path) -> None:
    digest = sha256(atlas / "manifest.json")
    with pytest.raises(InputError, match=r"there is no attribution method 'shaply'; did you mean shapley"):
        add_methods(atlas, ["shaply"])
    moved = atlas / CELLS
    moved.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is gone, so there are no counts to change"):
        add_methods(atlas, ["gradient"])
    (tmp_path / "elsewhere").rename(moved)
    shutil.rmtree(atlas / "dictionaries")
    with pytest.raises(InputError, match=r"dictionaries.* is gone; run the `cellglass run` that made it again"):
        add_methods(atlas, ["gradient"])
    with pytest.raises(InputError, match="there is no"):
        add_methods(tmp_path / "nowhere", ["gradient"])
    assert sha256(atlas / "manifest.json") == digest
    assert open_atlas(atlas).genes(0) is not None
