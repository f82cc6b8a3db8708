from __future__ import annotations

from pathlib import Path

import numpy as np

from cellglass.atlas import open_atlas
from cellglass.atlas.columns import Columns
from cellglass.atlas.normalised import cell_scales, normalised


def test_it_is_log1p_of_counts_per_ten_thousand(atlas_folder: Path) -> None:
    dense = open_atlas(atlas_folder).expression.to_memory().X.toarray().astype(float)
    scales = cell_scales(Columns(atlas_folder / "expression.zarr", zeros=True))
    for cell in (0, 5, 17):
        expected = np.log(1 + 1e4 * dense[cell] / dense[cell].sum())
        np.testing.assert_allclose(normalised(dense[cell], scales[cell]), expected, rtol=1e-5)
