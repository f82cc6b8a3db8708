import numpy as np

from cellglass.compiled import compiled
from cellglass.enrichment._kernels import null_scores, score_all
from cellglass.enrichment.ranks import rank


def test_compiled_loops_equal_plain_python(random_sets):
    rng = np.random.default_rng(1)
    _, sets = random_sets(60, [3, 10, 30])
    scores = np.round(rng.normal(size=(4, 60)), 1)
    scores[1] = np.maximum(scores[1], 0)
    ranked = rank(scores)
    walk = (np.abs(ranked.score), ranked.order, ranked.start, ranked.end)
    by_gene = sets.matrix.tocsr()
    results = []
    for score, draw in ((score_all, null_scores), (compiled(score_all), compiled(null_scores))):
        es, edge, null = np.zeros((4, 3)), np.zeros((4, 3), dtype=np.int32), np.zeros((4, 20))
        score(*walk, by_gene.indptr, by_gene.indices, sets.sizes, es, edge)
        positions = np.sort(np.argsort(np.random.default_rng(2).random((20, 60)), axis=1)[:, :10], axis=1)
        draw(walk[0], ranked.start, ranked.end, positions, null)
        results.append((es, edge, null))
    for plain, fast in zip(*results, strict=True):
        np.testing.assert_allclose(plain, fast, atol=1e-13)
