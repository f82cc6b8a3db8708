import numpy as np

from cellglass.enrichment.ranks import rank


def test_ranks_and_blocks_of_ties():
    scores = np.array([[0.0, 3, 0, -1, 3, 0, 5], [1, 1, 1, 1, 1, 1, 1], [7, 6, 5, 4, 3, 2, 1]], dtype=np.float32)
    ranked = rank(scores)
    assert ranked.score[0].tolist() == [5, 3, 3, 0, 0, 0, -1]
    assert ranked.start[0].tolist() == [0, 1, 1, 3, 3, 3, 6]
    assert ranked.end[0].tolist() == [1, 3, 3, 6, 6, 6, 7]
    assert ranked.start[1].tolist() == [0] * 7
    assert ranked.end[1].tolist() == [7] * 7
    assert ranked.order[2].tolist() == ranked.start[2].tolist() == list(range(7))
    assert np.array_equal(np.take_along_axis(scores, ranked.order, axis=1), ranked.score)
