"""What comes back, against plain loops over candidates and halves; a pick leaves out what is like it."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.dictionaries.consensus import recurrence as module
from cellglass.dictionaries.consensus.candidates import Candidates
from cellglass.dictionaries.consensus.recurrence import BARS, Recurrence

N = 300


def parts(activations: np.ndarray, component: np.ndarray | None = None) -> Candidates:
    """Return candidates: clusters, unless told otherwise; components are graded."""
    none = np.zeros(activations.shape[1], dtype=bool)
    component = none if component is None else component
    return Candidates(activations.astype(np.float32), component, component)


def noisy(base: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Return a copy of an activation in which a share of the cells hold another cell's value."""
    moved = base.copy()
    cells = rng.permutation(N)[: round(amount * N)]
    moved[cells] = base[rng.permutation(cells)]
    return moved


@pytest.fixture
def halves() -> list[Candidates]:
    """Six halves: some activations are in all of them, more or less the same, some in a few; half are components."""
    rng = np.random.default_rng(0)
    bases = (rng.random((N, 8)) < 0.25) * rng.uniform(1, 2, (N, 8))
    noise = [0.0, 0.02, 0.05, 0.05, 0.1, 0.3, 0.05, 0.1]
    found = []
    for number in range(6):
        kept = [i for i in range(8) if i < 6 or number in (0, 1, 2)]
        columns = [noisy(bases[:, i], noise[i], rng) for i in kept] + [rng.random(N) * (rng.random(N) < 0.3)]
        component = np.array([i % 2 == 1 for i in [*kept, 0]])
        found.append(parts(np.stack(columns, axis=1), component))
    return found


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1])


def plain_share(one: np.ndarray, bar: float, halves: list[Candidates]) -> float:
    """Share of the pairs whose halves both hold `one`, by partners that correlate with each other too."""
    found = 0
    for a, b in zip(halves[::2], halves[1::2], strict=True):
        best = []
        for half in (a, b):
            r = [correlation(one, column) for column in half.activations.T]
            best.append((max(r), half.activations[:, int(np.argmax(r))]))
        both = all(r >= bar for r, _ in best)
        found += both and correlation(best[0][1], best[1][1]) >= bar
    return found / (len(halves) // 2)


def test_reproducibility_equals_a_loop(halves, monkeypatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 7)
    found = Recurrence(halves)
    bar = np.where(found.component, BARS[True], BARS[False])
    partners = found.partners(found.activations)
    share = found.reproducibility(partners, bar)
    expected = [plain_share(column, b, halves) for column, b in zip(found.activations.T, bar, strict=True)]
    np.testing.assert_allclose(share, expected)
    assert len(set(expected)) >= 3
    for half in range(6):
        columns = halves[half].activations.T
        r = [[correlation(one, column) for column in columns] for one in found.activations.T]
        np.testing.assert_allclose(partners.correlation[:, half], np.max(r, axis=1), atol=1e-5)
        np.testing.assert_array_equal(partners.place[:, half], found.starts[half] + np.argmax(r, axis=1))


def test_what_only_one_half_of_each_pair_has_does_not_come_back() -> None:
    """Six of twelve halves hold it, and never two that share no cell."""
    rng = np.random.default_rng(1)
    base = (rng.random(N) < 0.3).astype(np.float32)
    both = (rng.random(N) < 0.3).astype(np.float32)
    halves = []
    for number in range(12):
        one = base if number % 2 == 0 else (rng.random(N) < 0.3).astype(np.float32)
        halves.append(parts(np.stack([one, both], axis=1)))
    found = Recurrence(halves)
    share = found.reproducibility(found.partners(np.stack([base, both], axis=1)), np.full(2, 0.7))
    assert share.tolist() == [0, 1]


def test_partners_must_be_found_in_each_other() -> None:
    """An activation that is between two others correlates with both, which are nothing to each other."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 20_000))
    one = (a + b) / np.sqrt(2)
    halves = [parts(part[:, None]) for part in (a, b)]
    found = Recurrence(halves)
    partners = found.partners(one[:, None])
    assert (partners.correlation > 0.69).all()
    assert found.reproducibility(partners, np.array([0.6])) == 0
    assert found.reproducibility(found.partners(one[:, None]), np.array([-1.0])) == 1


def test_groups_are_the_picks_of_a_loop(halves) -> None:
    found = Recurrence(halves)
    bar = np.where(found.component, BARS[True], BARS[False])
    share = np.array([plain_share(one, b, halves) for one, b in zip(found.activations.T, bar, strict=True)])
    partners, mean = [], []
    for i, one in enumerate(found.activations.T):
        own = int(np.searchsorted(found.starts, i, side="right")) - 1
        r = [[correlation(one, column) for column in half.activations.T] for half in halves]
        best = [max(values) for values in r]
        partners.append([half.activations[:, int(np.argmax(values))] for half, values in zip(halves, r, strict=True)])
        mean.append(sum(value for half, value in enumerate(best) if half != own) / 5)
    density = (found.activations > 0).mean(axis=0)
    able = [i for i in range(len(share)) if share[i] >= 0.5 and 0.01 <= density[i] <= 0.6]
    expected: list[np.ndarray] = []
    picks: list[int] = []
    for i in sorted(able, key=lambda i: (-share[i], -round(mean[i], 5), i)):
        if any(correlation(found.activations[:, i], taken) >= 0.8 for taken in expected):
            continue
        held = [p for p in partners[i] if correlation(found.activations[:, i], p) >= bar[i] - 1e-6]
        consensus = np.mean(held, axis=0)
        if any(correlation(consensus, taken) >= 0.8 for taken in expected):
            continue
        picks.append(i)
        expected.append(consensus)
    groups = found.groups(least=0.5, most=100)
    np.testing.assert_allclose(groups.activations, np.stack(expected, axis=1), atol=1e-5)
    np.testing.assert_allclose(groups.reproducibility, share[picks])
    np.testing.assert_allclose(groups.correlation, np.array(mean)[picks], atol=1e-5)
    np.testing.assert_array_equal(groups.component, found.component[picks])
    np.testing.assert_array_equal(groups.graded, found.component[picks])
    assert 4 <= len(picks) <= 8
    fewer = found.groups(least=0.5, most=3)
    np.testing.assert_array_equal(fewer.activations, groups.activations[:, :3])


def test_no_two_groups_correlate_at_08_and_what_is_nearly_always_or_never_on_is_none(halves) -> None:
    always, never = np.ones(N, dtype=np.float32), np.zeros(N, dtype=np.float32)
    always[:60], never[:2] = 0, 1
    more = [
        parts(np.column_stack([half.activations, always, never]), np.append(half.component, [False, False]))
        for half in halves
    ]
    groups = Recurrence(more).groups(least=0.5, most=100)
    r = np.corrcoef(groups.activations, rowvar=False) - np.eye(groups.activations.shape[1])
    assert r.max() < 0.8
    assert max(correlation(always, column) for column in groups.activations.T) < 0.8
    assert max(correlation(never, column) for column in groups.activations.T) < 0.8
    assert (np.diff(groups.reproducibility) <= 0).all()


def test_nothing_that_comes_back_gives_no_groups() -> None:
    rng = np.random.default_rng(4)
    halves = [parts(rng.random((N, 3)) * (rng.random((N, 3)) < 0.3)) for _ in range(4)]
    groups = Recurrence(halves).groups(least=0.5, most=10)
    assert groups.activations.shape == (N, 0)
    assert len(groups.reproducibility) == len(groups.correlation) == len(groups.component) == 0


def test_the_correlation_with_clusters_is_that_of_the_best_of_each_half(halves) -> None:
    found = Recurrence(halves)
    given = found.activations[:, [0, 1, 5]]
    expected = [
        np.mean([max(correlation(one, c) for c in half.activations.T[~half.component]) for half in halves])
        for one in given.T
    ]
    np.testing.assert_allclose(found.with_clusters(given), expected, atol=1e-5)
    none = [parts(half.activations, np.ones(half.activations.shape[1], dtype=bool)) for half in halves]
    np.testing.assert_array_equal(Recurrence(none).with_clusters(given), 0)
