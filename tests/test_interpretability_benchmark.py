"""``benchmarks/interpretability.py``: its latents and choices against cases whose answer is known, and its tables."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    names = ("reproducibility_sites", "interpretability_bases", "interpretability_report", "interpretability")
    yield SimpleNamespace(**{name.removeprefix("interpretability_"): importlib.import_module(name) for name in names})
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def site(benchmark: Any) -> Any:
    """Six blobs of 60 cells in 5 dimensions."""
    from cellglass.activations.rows import as_rows

    rng = np.random.default_rng(0)
    blob = np.repeat(np.arange(6), 60)
    z = rng.normal(0, 6, (6, 5))[blob] + rng.normal(size=(360, 5))
    obs = pd.DataFrame({"type": blob.astype(str)})
    source = benchmark.reproducibility_sites.Source(None, "type")
    rows = as_rows(z.astype(np.float32))
    return benchmark.reproducibility_sites.Site(
        "demo", rows, z, np.arange(360), obs, sp.csr_matrix(np.ones((360, 3))), source
    )


def test_a_cluster_is_on_where_its_centre_is_nearest_and_by_how_much(benchmark: Any) -> None:
    rng = np.random.default_rng(0)
    clusterings = [rng.normal(size=(3, 4)), rng.normal(size=(5, 4))]
    x = rng.normal(size=(40, 4))
    p = benchmark.bases.Margins(clusterings).preactivations(torch.from_numpy(x).float()).numpy()
    place = 0
    for middles in clusterings:
        far = np.square(x[:, None] - middles).sum(axis=2)
        for j in range(len(middles)):
            others = np.delete(far, j, axis=1).min(axis=1)
            np.testing.assert_allclose(p[:, place], (others - far[:, j]) / 2, atol=1e-4)
            np.testing.assert_array_equal(p[:, place] > 0, far.argmin(axis=1) == j)
            place += 1
    some = benchmark.bases.Margins(clusterings).only(np.array([4, 1]))
    np.testing.assert_array_equal(some.preactivations(torch.from_numpy(x).float()).numpy(), p[:, [4, 1]])


def test_what_comes_back_and_is_distinct_is_chosen(benchmark: Any) -> None:
    rng = np.random.default_rng(0)
    a = rng.random((200, 3))
    codes = sp.csc_matrix(np.column_stack([a[:, 0], 2 * a[:, 0], a[:, 1], a[:, 2]]))
    assert benchmark.bases.distinct(np.array([1, 0, 2, 3]), codes, 3).tolist() == [1, 2, 3]
    assert benchmark.bases.distinct(np.array([1, 0, 2, 3]), codes, 4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("basis", ["clusters", "neurons", "pca", "random"])
def test_every_basis_gives_as_many_latents_as_asked_for(benchmark: Any, site: Any, basis: str) -> None:
    part, density = np.arange(0, 360, 2), np.array([0.1, 0.2])
    found = benchmark.bases.chosen(basis, site, part, 0, density, 6)
    assert found.n_latents == 6
    codes = benchmark.bases.codes_of(found, site, np.arange(360))
    assert codes.shape == (360, 6)
    assert (np.diff(codes.indptr) > 0).all()
    if basis == "random":
        share = np.diff(benchmark.bases.codes_of(found, site, part).indptr) / len(part)
        assert np.abs(share[:, None] - density).min(axis=1).max() < 0.02
    if basis in benchmark.bases.DENSE:
        sparse = benchmark.bases.as_sparse(found, site.z[part], 0.1)
        share = np.diff(benchmark.bases.codes_of(sparse, site, part).indptr) / len(part)
        assert (share <= 0.12).all()


def test_figures_of_seeds_are_joined_and_every_part_has_its_table(benchmark: Any) -> None:
    records: list[dict[str, Any]] = []
    for split, value in enumerate((0.5, 0.7)):
        about = {"site": "demo", "split": split}
        table = {name: value for name in benchmark.report.TITLES if name != "above"} | {"latents": 9.0}
        records += [about | {"section": "table", "basis": "concepts", **table, "with a set, random genes": 0.1}]
        point = {"section": "probes", "label": "type", "basis": "pca", "k": "1", "accuracy": value, "shuffled": 0.2}
        records += [about | point, about | {"section": "cost", "seconds": 60.0}]
        records += [about | {"section": "loss", "basis": "concepts", "active": 3.0, "loss kept": value,
                             "variance explained": value}]  # fmt: skip
    page = benchmark.report.markdown(records, {"cores": 2, "cpu": "a processor"})
    assert "| concepts | 9.0 ± 0.0 | 0.60 ± 0.14 | 60% ± 14 |" in page
    assert "| 50% ± 14 | 0.60 ± 0.14 |" in page  # above random genes, and density
    assert "| PCA | 0.60 ± 0.14 |" in page
    assert "2 minutes of a processor" in page
    rows = {(row.metric, row.name): row.value for row in benchmark.interpretability.as_rows(records)}
    assert rows["accuracy", "probes, demo, type, pca, 1"] == pytest.approx(0.6)
    assert rows["accuracy, sd", "probes, demo, type, pca, 1"] == pytest.approx(np.std([0.5, 0.7], ddof=1))
