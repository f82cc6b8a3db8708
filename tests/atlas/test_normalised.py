from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from cellglass.atlas import open_atlas
from cellglass.atlas.columns import Columns
from cellglass.atlas.normalised import cell_scales, normalised
from cellglass.errors import DamagedError


@pytest.mark.parametrize("stated", [True, False])
def test_it_is_log1p_of_counts_per_ten_thousand(atlas_folder: Path, tmp_path: Path, stated: bool) -> None:
    place = Path(shutil.copytree(atlas_folder / "expression.zarr", tmp_path / "expression.zarr"))
    group: Any = zarr.open_group(str(place), mode="r+")
    if not stated:  # an older atlas
        del group["obs/total"]
    dense = open_atlas(atlas_folder).expression.to_memory().X.toarray().astype(float)
    scales = cell_scales(Columns(place, zeros=True))
    assert len(scales) == len(dense)
    for cell in (0, 5, 17):
        expected = np.log(1 + 1e4 * dense[cell] / dense[cell].sum())
        np.testing.assert_allclose(normalised(dense[cell], scales[cell]), expected, rtol=1e-5)


def test_sums_that_cannot_be_are_refused(atlas_folder: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(atlas_folder / "expression.zarr", tmp_path / "expression.zarr"))
    group: Any = zarr.open_group(str(place), mode="r+")
    group["obs/total"][3] = np.nan
    with pytest.raises(DamagedError, match="'total' is damaged"):
        cell_scales(Columns(place, zeros=True))
