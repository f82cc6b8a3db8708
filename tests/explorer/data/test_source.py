from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.atlas import manifest as manifests
from cellglass.atlas import open_atlas, write
from cellglass.atlas.read import Atlas
from cellglass.explorer.data.source import MAX_VALUES, Source


def test_labels_of_every_kind(atlas: Atlas, tmp_path: Path) -> None:
    n = MAX_VALUES + 50
    obs = pd.DataFrame(
        {
            "kind": pd.Categorical(["a", None, "b"] * (n // 3), categories=["b", "a"]),
            "doublet": [True, False, False] * (n // 3),
            "barcode": [f"b{i}" for i in range(n)],
            "wide": [f"w{i % 300}" for i in range(n)],
            "depth": np.r_[np.nan, np.arange(n - 1)],
        },
        index=[f"c{i}" for i in range(n)],
    )
    var = atlas.concepts.var.iloc[:2]
    write.write_concepts(tmp_path, sp.csc_matrix((n, 2)), obs, np.zeros((n, 2)), var, {"site": "z"})
    source = Source(open_atlas(_finish(tmp_path)))
    assert list(source.labels) == ["kind", "doublet", "wide", "depth"]  # a barcode is a name, not a label
    assert source.codes["kind"][:3].tolist() == [2, 0, 1]
    assert source.codes["doublet"][:3].tolist() == [2, 1, 1]
    assert source.labels["doublet"].cat.categories.tolist() == ["False", "True"]
    assert source.codes["wide"].max() == 300
    assert source.totals["kind"].tolist() == [n // 3] * 3
    assert source.n_cells == n
    assert source.cell_names(3, 5) == ["c3", "c4"]


def _finish(folder: Path) -> Path:
    write.write_evaluation(folder, [])
    manifest = manifests.new_manifest(0, {})
    manifest["stages"]["all"] = {"fingerprint": "0", "state": "done", "seconds": 1.0, "outputs": {}}
    manifests.write_manifest(folder, manifest)
    return folder
