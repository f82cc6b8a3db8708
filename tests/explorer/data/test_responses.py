"""Responses of a baseline against a dense computation, in blocks of any size, of cells and of tokens."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cellglass.activations import SiteBatch, Writer, open_store
from cellglass.activations.manifest import StoredSite
from cellglass.atlas import open_atlas
from cellglass.atlas.read import Atlas
from cellglass.errors import DamagedError
from cellglass.explorer.data import responses
from cellglass.explorer.data.responses import Responses
from cellglass.explorer.data.source import Source


def gathered(found: Responses, **options: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cells, values = zip(*found.blocks(**options), strict=True)
    return np.concatenate(cells), np.concatenate(values)


@pytest.mark.parametrize("batch", [8192, 64, 1])
def test_all_answers_are_those_of_the_dictionary(atlas: Atlas, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(responses, "BATCH", batch)
    x = open_store(atlas.path / "work" / "activations").read("cell").numpy()
    cells, values = gathered(Responses(Source(atlas), "neurons"))
    np.testing.assert_array_equal(cells, np.arange(700))
    np.testing.assert_allclose(values, np.hstack([x - x.mean(0), x.mean(0) - x]), atol=1e-5)


def test_some_latents_in_some_cells(atlas: Atlas) -> None:
    everything = gathered(Responses(Source(atlas), "random"))[1]
    among, latents = np.array([3, 77, 699]), np.array([5, 0])
    cells, values = gathered(Responses(Source(atlas), "random"), latents=latents, among=among)
    np.testing.assert_array_equal(cells, among)
    # a product of fewer rows is summed in another order: differences of 1e-7 in values of about 1
    np.testing.assert_allclose(values, everything[among][:, latents], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [8192, 7, 1])
def test_of_tokens_a_cell_has_its_largest_answer(
    full_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(responses, "BATCH", batch)
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    shutil.rmtree(folder / "work")
    rng = np.random.default_rng(5)
    cell = np.repeat(np.arange(700), rng.integers(0, 12, 700))  # some cells have no token
    values = torch.from_numpy(rng.normal(size=(len(cell), 16)).astype(np.float32))
    writer = Writer(folder / "work" / "activations", 700, "tokens", {"t": StoredSite(16, "token")})
    writer.add(700, {"t": SiteBatch(values, cell, np.zeros(len(cell), dtype=np.int64))})
    writer.close()
    source = Source(open_atlas(folder))
    centre = source.atlas.dictionary("neurons").centre.numpy()
    cells, found = gathered(Responses(source, "neurons"), latents=np.array([2, 18]))
    np.testing.assert_array_equal(cells, np.unique(cell))
    for place, one in enumerate(cells):
        own = (values.numpy() - centre)[cell == one, 2]
        np.testing.assert_allclose(found[place], [own.max(), (-own).max()], rtol=1e-5, atol=1e-6)


def test_activations_that_are_gone_or_of_other_cells_are_told(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    shutil.rmtree(folder / "work")
    gone = Responses(Source(open_atlas(folder)), "neurons")
    assert not gone.there
    with pytest.raises(DamagedError, match="work/activations: it is gone"):
        gathered(gone)
    writer = Writer(folder / "work" / "activations", 30, "others", {"cell": StoredSite(16)})
    writer.add(30, {"cell": SiteBatch(torch.zeros(30, 16), np.arange(30))})
    writer.close()
    with pytest.raises(DamagedError, match="not of the cells"):
        gathered(Responses(Source(open_atlas(folder)), "neurons"))
