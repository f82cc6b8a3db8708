"""Selections written into an .h5ad: the columns, every cell in its place, and a file that is never lost."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.errors import InputError
from cellglass.explorer.selections import into
from cellglass.explorer.selections.into import write_into
from cellglass.files import sha256

NAMES = [f"cell-{i}" for i in range(6)]
SELECTIONS = {"T / B": np.array([0, 2, 5]), "T _ B": np.array([1])}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Cells in another order, without cell-5 and with one that the atlas lacks."""
    obs = pd.DataFrame({"kind": pd.Categorical(list("aabba"))}, index=["cell-4", "cell-2", "x", "cell-0", "cell-1"])
    var = pd.DataFrame(index=[f"g{i}" for i in range(3)])
    adata = anndata.AnnData(sp.csr_matrix(np.eye(5, 3, dtype=np.float32)), obs, var, uns={"mine": {"a": 1}})
    adata.write_h5ad(tmp_path / "my.h5ad")
    return tmp_path / "my.h5ad"


def test_a_new_file_has_a_column_for_each_and_all_else_as_it_was(file: Path) -> None:
    before = sha256(file)
    told = write_into(file, file.parent / "new.h5ad", SELECTIONS, NAMES)
    assert (told.columns, told.missing, told.others) == ({"T _ B": 2, "T _ B_2": 1}, ["cell-5"], 1)
    old, new = anndata.read_h5ad(file), anndata.read_h5ad(told.path)
    assert new.obs["T _ B"].dtype == bool
    assert new.obs_names[new.obs["T _ B"]].tolist() == ["cell-2", "cell-0"]
    pd.testing.assert_frame_equal(new.obs[["kind"]], old.obs)
    np.testing.assert_array_equal(new.X.toarray(), old.X.toarray())
    assert new.uns["mine"] == {"a": 1}
    assert sha256(file) == before
    with pytest.raises(InputError, match="a file already"):
        write_into(file, told.path, SELECTIONS, NAMES)


def test_in_place_again_replaces_its_own_columns_and_a_failure_leaves_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_into(file, file, {"mine": np.array([0]), "old": np.array([2])}, NAMES, in_place=True)
    write_into(file, file, {"mine": np.array([2, 4])}, NAMES, in_place=True)
    found = anndata.read_h5ad(file)
    assert list(found.obs) == ["kind", "mine", "old"]
    assert found.obs_names[found.obs["mine"]].tolist() == ["cell-4", "cell-2"]
    before = sha256(file)
    monkeypatch.setattr(into, "_write", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_into(file, file, {"mine": np.array([1])}, NAMES, in_place=True)
    assert sha256(file) == before
    assert [path.name for path in file.parent.iterdir()] == ["my.h5ad"]


def test_what_cannot_be_is_said(file: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.h5ad"
    for source, selections, names, says in (
        (file, {"kind": np.array([0])}, NAMES, "column kind that"),
        (file, SELECTIONS, ["other"] * 6, "none of the atlas's cells"),
        (tmp_path / "no.h5ad", SELECTIONS, NAMES, "no such file"),
        (Path(__file__), SELECTIONS, NAMES, r"no \.h5ad file"),
    ):
        with pytest.raises(InputError, match=says):
            write_into(source, new, selections, names)
        assert not new.exists()
    twice = anndata.read_h5ad(file)
    twice.obs_names = ["a", "a", "b", "c", "d"]
    twice.write_h5ad(tmp_path / "twice.h5ad")
    with pytest.raises(InputError, match="two cells are called 'a'"):
        write_into(tmp_path / "twice.h5ad", new, SELECTIONS, NAMES)
