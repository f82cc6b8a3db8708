"""``benchmarks/reproducibility.py``: its scores against cases whose answer is known, and a small run of all of it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    names = ("cnmf", "reproducibility_sites", "reproducibility_methods", "reproducibility_scores", "reproducibility")
    names += ("reproducibility_surrogates", "reproducibility_report")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def site(benchmark: Any) -> Any:
    """Six blobs of 60 cells in 5 dimensions; donors and a state that are spread over all of them."""
    rng = np.random.default_rng(0)
    blob = np.repeat(np.arange(6), 60)
    z = rng.normal(0, 4, (6, 5))[blob] + rng.normal(size=(360, 5))
    obs = pd.DataFrame({"type": blob.astype(str), "donor": np.tile(np.arange(10), 36).astype(str)})
    obs["state"] = np.where(rng.random(360) < 0.5, "on", "off")
    from cellglass.activations.rows import as_rows

    source = benchmark.reproducibility_sites.Source(None, "type", ("state", "on"), "donor")
    counts = sp.csr_matrix(rng.poisson(1, (360, 20)).astype(np.float32))
    return benchmark.reproducibility_sites.Site(
        "demo", as_rows(z.astype(np.float32)), z, np.arange(360), obs, counts, source
    )


def fit_of(benchmark: Any, activations: np.ndarray[Any, Any], among: np.ndarray[Any, Any] | None = None) -> Any:
    return benchmark.reproducibility_methods.Fitted(activations, activations if among is None else among)


def test_parts_share_no_donor(site: Any) -> None:
    parts = site.parts(0)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(360))
    donors = [set(site.obs["donor"].iloc[part]) for part in parts]
    assert [len(one) for one in donors] == [4, 4, 2]
    assert not donors[0] & donors[1]
    assert not (donors[0] | donors[1]) & donors[2]
    cells = site._replace(source=site.source._replace(donor=None)).parts(0)
    assert [len(part) for part in cells] == [144, 144, 72]
    assert not np.array_equal(site.parts(1)[0], parts[0])


def test_what_comes_back_is_counted_one_to_one_and_leniently(benchmark: Any) -> None:
    rng = np.random.default_rng(1)
    a = np.clip(rng.normal(size=(400, 4)), 0, None)
    other = np.clip(rng.normal(size=(400, 4)), 0, None)
    b = np.column_stack([a[:, 2], a[:, 0], other[:, 0]])
    found = benchmark.reproducibility_scores.returns(
        fit_of(benchmark, a), fit_of(benchmark, b, np.column_stack([b, a[:, 3]])), np.arange(400)
    )
    assert found["back"] == 2
    assert found["share"] == pytest.approx((2 / 4 + 2 / 3) / 2)
    assert found["share, lenient"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert found["latents"] == 3.5
    assert found["distinct"] == 2
    twice = np.column_stack([a, a[:, 0] + 0.01 * other[:, 1]])  # five come back, four of them distinct
    assert benchmark.reproducibility_scores.distinct(twice, twice) == 4
    partner = benchmark.reproducibility_scores.one_to_one(a, b)
    assert partner[[0, 2]] == pytest.approx([1, 1])


def test_blobs_are_explained_and_marked_by_their_clusters(benchmark: Any, site: Any) -> None:
    own = np.eye(6, dtype=np.float32)[site.obs["type"].astype(int)]
    part, unseen = np.arange(0, 360, 2), np.arange(1, 360, 2)
    used = benchmark.reproducibility_scores.use(fit_of(benchmark, own), site.z, part, unseen)
    means = pd.DataFrame(site.z[part]).groupby(site.obs["type"].to_numpy()[part]).mean().to_numpy()
    error = np.square(site.z[unseen] - means[site.obs["type"].astype(int).to_numpy()[unseen]]).sum()
    total = np.square(site.z[unseen] - site.z[unseen].mean(axis=0)).sum()
    assert used["variance explained"] == pytest.approx(1 - error / total, abs=0.01)
    assert used["active"] == 1
    assert used["density"] == pytest.approx(1 / 6)
    marked = benchmark.reproducibility_scores.marks(own, site.obs["type"], 0)
    assert marked == {"F1": 1.0, "precision": 1.0, "precision, strong": 1.0, "good": 6.0}
    wide = own + 0.01 * np.roll(own, 1, axis=1)  # on in a second blob too, but hardly
    marked = benchmark.reproducibility_scores.marks(wide, site.obs["type"], 0)
    assert (marked["F1"], marked["precision"], marked["precision, strong"]) == (1.0, 0.5, 1.0)


def test_a_state_within_clusters_is_told_by_what_clusters_do_not_say(benchmark: Any) -> None:
    rng = np.random.default_rng(2)
    cluster, truth = rng.integers(0, 3, 900), rng.random(900) < 0.5
    on = np.column_stack([truth, cluster == 1, rng.random(900) < 0.3])
    bits = benchmark.reproducibility_scores.information(on, truth, cluster)
    assert bits[0] == pytest.approx(1, abs=0.02)  # all of the entropy of a fair coin
    assert bits[1] == pytest.approx(0, abs=1e-9)  # a cluster says nothing when the cluster is known
    assert 0 <= bits[2] < 0.02
    found = benchmark.reproducibility_scores.beyond(on.astype(float), truth, cluster, 0)
    assert found["latents"] == 1
    assert found["share"] == pytest.approx(1, abs=0.02)


def test_consensus_nmf_finds_planted_programs(benchmark: Any) -> None:
    rng = np.random.default_rng(3)
    usage = rng.dirichlet(np.full(4, 0.3), 400)
    spectra = np.full((4, 120), 0.2)
    for i in range(4):
        spectra[i, 30 * i : 30 * (i + 1)] = 4
    counts = sp.csr_matrix(rng.poisson(usage @ spectra).astype(np.float32))
    found = benchmark.cnmf.programs(counts, 0, numbers=(4, 7))
    assert benchmark.cnmf.stable(found) == 4
    assert found[4].spectra.sum(axis=1) == pytest.approx(np.ones(4))
    got = found[4].usages(counts)
    assert got.sum(axis=1) == pytest.approx(np.ones(400), abs=1e-5)
    r = np.corrcoef(got.T, usage.T)[:4, 4:]
    assert sorted(r.argmax(axis=1)) == [0, 1, 2, 3]
    assert r.max(axis=1).min() > 0.9


def test_genes_are_chosen_by_dispersion_for_their_mean(benchmark: Any) -> None:
    rng = np.random.default_rng(4)
    mean = rng.lognormal(1, 0.3, 200)
    counts = rng.poisson(mean, (300, 200))
    counts[:, :10] = rng.poisson(mean[:10] * rng.choice([0.1, 1.9], (300, 1)), (300, 10))
    found = benchmark.cnmf.dispersed(sp.csr_matrix(counts.astype(np.float32)), 10)
    assert list(found) == list(range(10))


@pytest.mark.parametrize("name", ["clusters", "ica", "pca", "random", "nmf", "communities", "many clusters"])
def test_a_rival_reads_all_rows(benchmark: Any, site: Any, name: str) -> None:
    found = benchmark.reproducibility_methods.METHODS[name](site, np.arange(0, 360, 2), 0)
    for fit in found.values():
        assert fit.activations.shape[0] == 360
        assert (fit.activations >= 0).all()
        assert (fit.activations > 0).any(axis=0).sum() > 1
    if name in ("clusters", "communities"):
        marked = benchmark.reproducibility_scores.marks(next(iter(found.values())).activations, site.obs["type"], 0)
        assert marked["F1"] > 0.8


def test_leiden_finds_blobs_where_its_environment_stands(benchmark: Any, site: Any) -> None:
    import environments

    if not environments.stands("leiden"):
        pytest.skip("python benchmarks/environments.py leiden")
    found = benchmark.reproducibility_methods.METHODS["leiden"](site, np.arange(0, 360, 2), 0)
    assert list(found) == ["Leiden communities, resolution 1", "Leiden communities, resolution 3"]
    first = next(iter(found.values())).activations
    np.testing.assert_array_equal(first.sum(axis=1), 1)
    assert benchmark.reproducibility_scores.marks(first, site.obs["type"], 0)["F1"] > 0.95


def test_the_page_says_which_transformer_the_concepts_are_of(benchmark: Any) -> None:
    keys = ("latents", "back", "distinct", "share", "share, lenient", "variance explained", "active")
    record = {"section": "transformer", "split": 0, "method": "500", **dict.fromkeys(keys, 0.5)}
    about = {"cores": 1, "cpu": "a processor"}
    page = benchmark.reproducibility_report.markdown([record | {"site": "kang, scgpt cell"}], about)
    assert "| kang, scgpt cell | 500 | 0.50 |" in page
    assert "a small scgpt (2 layers of width 64) fitted to 5,000 of kang's cells" in " ".join(page.split())
    assert "small scgpt" not in benchmark.reproducibility_report.markdown(
        [record | {"section": "growth", "site": "kang"}], about
    )


@pytest.mark.slow
def test_concepts_come_back_and_the_page_says_who_is_better(benchmark: Any, site: Any, tmp_path: Path) -> None:
    run = benchmark.reproducibility
    site = site._replace(source=site.source._replace(donor=None))
    records = list(run.frontier(tmp_path, site, 0, ("consensus", "clusters")))
    by = {one["method"]: one for one in records}
    ours = by["consensus: concepts"]
    chance = by["consensus, turned at random (control)"]
    assert ours["latents"] >= 3
    assert ours["share"] > chance["share"] + 0.5
    assert ours["F1"] > chance["F1"]
    assert ours["precision"] > 0.9
    assert all(0 <= stated <= 1 for stated, _, _ in ours["stated"])
    assert {"F1 of the state", "F1 within types"} <= set(ours)
    kept = json.loads(next(tmp_path.glob("*consensus.json")).read_text())
    assert kept[0]["back"] == ours["back"]
    page = benchmark.reproducibility_report.markdown(records, {"cores": 1, "cpu": "a processor"})
    assert "| consensus: concepts |" in page
    assert "Rivals above the concepts: come back: " in page
    rows = json.loads(run.as_json({"cores": 1}, run.as_rows(records)))["rows"]
    said = {(one["metric"], one["name"]): one["value"] for one in rows}
    assert said["frontier: share", "demo: consensus: concepts"] == ours["share"]
    assert not list(run.as_rows([{"section": "s", "site": "demo", "method": "m", "x": float("nan")}]))


def test_surrogates_keep_what_principal_components_know(benchmark: Any, site: Any) -> None:
    sites = benchmark.reproducibility_surrogates.surrogates(site, 0)
    real, gaussian, shuffled = sites.values()
    assert real is site
    values, axes = np.linalg.eigh(np.cov(site.z.T))
    for one in (gaussian, shuffled):
        assert one.z.shape == site.z.shape
        assert np.array_equal(one.rows.read(np.arange(360)).numpy(), one.z.astype(np.float32))
        assert one.z.mean(axis=0) == pytest.approx(site.z.mean(axis=0), abs=1.5)
        spread = np.cov((one.z @ axes).T)
        assert np.diag(spread) == pytest.approx(values, rel=0.35)
    scores = [np.sort((z - site.z.mean(axis=0)) @ axes, axis=0) for z in (site.z, shuffled.z, gaussian.z)]
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)  # the same values of each component
    assert not np.allclose(scores[2], scores[0], atol=0.1)
    blob = site.obs["type"].to_numpy()
    within = [pd.DataFrame(z).groupby(blob).var().to_numpy().mean() for z in (site.z, shuffled.z)]
    assert within[0] < 0.3 * within[1]  # no blob is left
    assert np.array_equal(benchmark.reproducibility_surrogates.surrogates(site, 0)[list(sites)[1]].z, gaussian.z)


def test_a_part_that_is_measured_alone_keeps_the_rest(benchmark: Any) -> None:
    report, former = (
        benchmark.reproducibility_report,
        "# Title\n\non 2 cores (A); one\n\n## One\n\nold\n\n## Two\n\n1\n",
    )
    page = report.with_former(former, "# Title\n\nmade on 2 cores (B); one\n\n## Three\n\nnew\n\n## One\n\nagain\n")
    assert page.startswith(
        "# Title\n\non 2 cores (A); one\n\n## One\n\nagain\n\nMeasured on 2 cores (B).\n\n## Two\n\n1\n"
    )
    assert page.endswith("## Three\n\nnew\n\nMeasured on 2 cores (B).\n")
    row, main = sys.modules["common"].Row, benchmark.reproducibility
    before = [{"metric": f"{section}: back", "name": "zheng: ICA", "value": 1.0, "unit": ""} for section in ("a", "b")]
    kept = main.with_former(before, [row("b: back", "zheng: PCA", 2.0, "")])
    assert [(one.metric, one.name) for one in kept] == [("a: back", "zheng: ICA"), ("b: back", "zheng: PCA")]
