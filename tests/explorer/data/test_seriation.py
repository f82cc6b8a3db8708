"""Orders keep alike rows together: against all orders that a tree allows, tried one by one."""

from __future__ import annotations

import numpy as np

from cellglass.explorer.data import seriation


def orders(tree: np.ndarray, n: int) -> list[list[int]]:
    """Return every order of leaves that a tree allows, by turning each of its branchings both ways."""
    found: list[list[list[int]]] = [[[leaf]] for leaf in range(n)]
    for one, other in tree[:, :2].astype(int):
        found.append([[*pair[0], *pair[1]] for a in found[one] for b in found[other] for pair in ((a, b), (b, a))])
    return found[-1]


def test_a_guided_order_is_of_the_tree_and_turns_each_branching_to_the_lower_weight() -> None:
    rng = np.random.default_rng(5)
    x, weight = rng.random((8, 3)), rng.integers(0, 4, 8).astype(float)
    tree, order = seriation.tree_of(x), seriation.guided(x, weight).tolist()
    assert order in orders(tree, 8)
    members: list[list[int]] = [[leaf] for leaf in range(8)]
    for one, other in tree[:, :2].astype(int):
        first, last = sorted((members[one], members[other]), key=lambda side: order.index(side[0]))
        assert weight[first].mean() <= weight[last].mean() + 1e-9
        members.append(first + last)


def test_blocks_lie_along_the_diagonal_and_rows_of_nothing_come_last() -> None:
    rng = np.random.default_rng(2)
    kind = rng.permutation(np.repeat(np.arange(4), 5))
    x = np.r_[0.05 * rng.random((20, 4)) + np.eye(4)[kind], np.zeros((1, 4))]
    order, columns = seriation.diagonal(x)
    assert kind[order[:-1]].tolist() == np.repeat(columns, 5).tolist()
    assert order[-1] == 20
    for n in (0, 1, 2):
        order, columns = seriation.diagonal(x[:n])
        assert (sorted(order), sorted(columns)) == (list(range(n)), [0, 1, 2, 3])
