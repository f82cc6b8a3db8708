"""Gene-set tests: names cost nothing, what a test says of itself is so, and another package's is run like ours."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cellglass.enrichment import EnrichmentConfig, GeneSets, GeneSetTest, SetStatistics, enrich
from cellglass.enrichment.registry import TESTS

OURS = list(TESTS)
HEAVY = ("torch", "pandas", "scipy", "numpy", "numba", "decoupler")


def run(code: str, *paths: Path) -> str:
    """Run `code` in a process of its own, with `paths` first on its path."""
    first = f"import sys; sys.path[:0] = {[str(path) for path in paths]!r}\n"
    return subprocess.run([sys.executable, "-c", first + code], check=True, capture_output=True, text=True).stdout


def test_names_and_a_configuration_cost_nothing():
    code = (
        "from cellglass.enrichment.registry import TESTS\n"
        "from cellglass.enrichment import EnrichmentConfig\n"
        f"list(TESTS), EnrichmentConfig(); print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert run(code) == "[]\n"


@pytest.mark.parametrize("name", OURS)
def test_what_a_test_says_of_itself_is_so(name, random_sets):
    entry = TESTS[name]
    assert (entry.name, entry.title) == (name, name.upper())
    assert entry.null_draws > 0
    assert entry.cost.endswith(".")
    _, sets = random_sets(60, [10, 20])
    scores = np.random.default_rng(0).random((1, 60)) + 0.1
    scores[0, sets.genes_of(0)] += 1
    test = entry.bind(EnrichmentConfig(top_n=10), 0, 1)
    found, stretched = test([scores], sets), test([np.exp(3 * scores)], sets)
    assert found.statistic.shape == found.p.shape == (1, 1, 2)
    assert found.statistic[0, 0, 0] > 0
    assert found.p[0, 0, 0] < 0.05
    # What takes raw scores looks at their order alone, so that heavy tails cannot mislead it.
    assert np.array_equal(found.statistic, stretched.statistic) == (entry.wants == "raw")


def more_mean(rankings, sets):
    """Test nothing well: the mean of a set above that of all genes."""
    statistic = np.stack([r @ sets.matrix / sets.sizes - r.mean(axis=1, keepdims=True) for r in rankings])
    p = np.where(statistic > 0.5, 1e-6, 1.0)
    return SetStatistics(statistic, p, np.broadcast_to(rankings[0].mean(axis=1, keepdims=True), p.shape[1:]))


ENTRY = GeneSetTest(
    name="mine",
    title="Mine",
    one_sided=False,
    wants="raw",
    null_draws=3,
    cost="One product.",
    bind=lambda _config, _seed, _workers: more_mean,
)


def planted():
    rng = np.random.default_rng(0)
    scores, symbols = rng.normal(0, 0.1, size=(3, 200)), [f"g{i}" for i in range(200)]
    scores[1, :12] += 2
    scores[2, :12] -= 2
    return scores, symbols, [GeneSets("few", {"t": tuple(symbols[:12]), "u": tuple(symbols[50:70])})]


def test_an_entry_that_is_added_by_hand_is_run_with_ours(monkeypatch):
    monkeypatch.setitem(TESTS.built_in, "mine", "nowhere:ENTRY")
    monkeypatch.setitem(TESTS._loaded, "mine", ENTRY)
    scores, symbols, sources = planted()
    result = enrich(scores, symbols, np.ones(200), sources, EnrichmentConfig(tests=("ora", "mine")))
    mine = result.pathways.query("test == 'mine'").set_index(["concept", "term"])
    assert mine.loc[(1, "t"), "q"] < 0.05
    assert set(mine.loc[(1, "t"), "leading_edge"].split(";")) == set(symbols[:12])
    # Two-sided: what lies below is its leading edge where the statistic is negative.
    assert set(mine.loc[(2, "t"), "leading_edge"].split(";")) == set(symbols[:12])
    assert [(rate["test"], rate["draws"]) for rate in result.rates] == [("ora", 25), ("mine", 3)]
    assert result.rates[1]["value"] == pytest.approx(1 / 3)


def test_a_test_of_another_package_is_found_and_run(tmp_path):
    """A package that is on the path, with an entry point."""
    (tmp_path / "my_test.py").write_text(
        "import numpy as np\n"
        "from cellglass.enrichment import GeneSetTest, SetStatistics\n"
        "def bind(config, seed, workers):\n"
        "    def test(rankings, sets):\n"
        "        shape = (len(rankings), len(rankings[0]), len(sets.terms))\n"
        "        return SetStatistics(np.ones(shape), np.full(shape, 0.5), np.zeros(shape[1:]))\n"
        "    return test\n"
        "ENTRY = GeneSetTest('mine', 'Mine', False, 'raw', 2, 'Nothing.', bind)\n"
    )
    info = tmp_path / "my_test-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-test\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cellglass.tests]\nmine = my_test:ENTRY\n")
    code = (
        "import numpy as np\n"
        "from cellglass.enrichment import EnrichmentConfig, GeneSets, TESTS, enrich\n"
        "symbols = [f'g{i}' for i in range(20)]\n"
        "sets = [GeneSets('few', {'t': tuple(symbols[:6])})]\n"
        "config = EnrichmentConfig(tests=('mine',))\n"
        "found = enrich(np.random.default_rng(0).normal(size=(2, 20)), symbols, np.ones(20), sets, config)\n"
        "print(*TESTS, found.pathways['test'].unique().tolist(), found.rates[0]['draws'])\n"
    )
    assert run(code, tmp_path) == "gsea ulm ora mine ['mine'] 2\n"
