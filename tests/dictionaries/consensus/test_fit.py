"""The whole fit: planted types and a state that all share; the join of core and rest; small, wide and stopped fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cellglass import dictionaries
from cellglass.atlas.summary import BEYOND
from cellglass.dictionaries import Consensus, ConsensusConfig, TrainConfig
from cellglass.dictionaries.consensus import fit as module
from cellglass.dictionaries.consensus.recurrence import SAME, Groups
from cellglass.errors import InputError

QUICK = TrainConfig(steps=40, batch_size=64, check_every=10, dead_after=500)


def f1(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """F1 of each column of `found` against the cells `truth`."""
    return 2 * (found & truth[:, None]).sum(axis=0) / (found.sum(axis=0) + truth.sum())


def active(dictionary: Consensus, x: torch.Tensor) -> np.ndarray:
    return dictionary.encode(x).to_csr().toarray() > 0


def weights(dictionary: Consensus) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in dictionary.state_dict().items()}


def test_a_state_that_all_types_share_is_one_concept_and_no_cluster(shared_state, crossed) -> None:
    n = shared_state.config.n_concepts
    found = f1(active(shared_state, crossed.x)[:, :n], crossed.state)
    assert (found > 0.95).sum() == 1
    concept = int(found.argmax())
    assert float(shared_state.reproducibility[concept]) == 1
    assert float(shared_state.cluster_correlation[concept]) < BEYOND
    assert float(shared_state.agreement[concept]) > 0.95


def test_each_type_is_one_concept_and_a_cluster(shared_state, crossed) -> None:
    n, on = shared_state.config.n_concepts, active(shared_state, crossed.x)
    for number in range(3):
        found = f1(on[:, :n], crossed.kind == number)
        assert (found > 0.95).sum() == 1
        assert float(shared_state.cluster_correlation[int(found.argmax())]) > 0.9


def test_concepts_come_back_in_cells_that_no_fit_saw(shared_state) -> None:
    rng = np.random.default_rng(9)
    kind, state = rng.integers(0, 3, 300), rng.random(300) < 0.4
    x = rng.normal(size=(300, 4)) * 0.35
    x[np.arange(300), kind] += 4
    x[:, -1] += np.where(state, 1.4, -1.4)
    on = active(shared_state, torch.from_numpy(x).float())[:, : shared_state.config.n_concepts]
    assert all(f1(on, truth).max() > 0.95 for truth in (state, kind == 0, kind == 1, kind == 2))


def test_concepts_lead_by_reproducibility_and_the_rest_comes_back_less(shared_state) -> None:
    config, share = shared_state.config, shared_state.reproducibility
    core = share[: config.n_core]
    assert bool((core[: config.n_concepts] >= 0.8).all())
    assert bool(((core[config.n_concepts :] >= 0.5) & (core[config.n_concepts :] < 0.8)).all())
    assert bool((core.diff() <= 0).all())
    assert set((share * 4).tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}  # shares of four pairs
    assert bool(shared_state.agreement[: config.n_core].isfinite().all())
    assert bool(shared_state.agreement[config.n_core :].isnan().all())
    assert shared_state.n_findings == config.n_concepts < 64 == shared_state.n_latents


def test_the_rows_that_are_read_are_those_to_learn_from(crossed) -> None:
    """Rows that are held out may be anything."""
    spoiled = crossed.x.clone()
    spoiled[500:] = 1000 * torch.randn(100, 4)
    learn, config = np.arange(450), ConsensusConfig(4, 24, 3, pairs=1)
    one, other = (
        dictionaries.fit(
            "consensus", x, config=config, training=QUICK, rows_train=learn, rows_valid=np.arange(450, 500)
        )
        for x in (crossed.x, spoiled)
    )
    assert weights(one) == weights(other)
    assert torch.allclose(one.centre, crossed.x[:450].mean(0), atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(crossed) -> None:
    config = ConsensusConfig(4, 24, 3, pairs=2)
    first, again, other = (
        dictionaries.fit("consensus", crossed.x, config=config, training=QUICK, seed=seed) for seed in (0, 0, 1)
    )
    assert weights(first) == weights(again)
    assert weights(first) != weights(other)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stop", [("find concepts", 3), ("train dictionary", 20)])
def test_one_that_is_stopped_goes_on_to_the_same_result_and_leaves_no_file(
    stop: tuple[str, int], crossed, tmp_path, monkeypatch
) -> None:
    config = ConsensusConfig(4, 24, 3, pairs=3)
    training = replace(QUICK, checkpoint_seconds=0)
    whole = dictionaries.fit("consensus", crossed.x, config=config, training=training, seed=4)

    def hear(what: str, done: int, _total: int) -> None:
        if (what, done) == stop:
            raise StoppedError

    given = {"config": config, "training": training, "seed": 4, "checkpoint": tmp_path / "deep" / "check"}
    with pytest.raises(StoppedError):
        dictionaries.fit("consensus", crossed.x, progress=hear, **given)
    kept = len(list((tmp_path / "deep").glob("check.half-*.npz")))
    assert kept == (3 if stop[0] == "find concepts" else 6)
    made: list[int] = []
    real = module.candidates
    monkeypatch.setattr(module, "candidates", lambda *a: made.append(1) or real(*a))
    resumed = dictionaries.fit("consensus", crossed.x, **given)
    assert len(made) == 6 - kept  # what was there is not made again
    assert weights(resumed) == weights(whole)
    assert not list((tmp_path / "deep").iterdir())


def test_candidates_of_another_fit_are_not_taken_for_its_own(crossed, tmp_path) -> None:
    def hear(what: str, done: int, _total: int) -> None:
        if done == 2:
            raise StoppedError

    given = {"config": ConsensusConfig(4, 24, 3, pairs=2), "training": QUICK, "checkpoint": tmp_path / "check"}
    with pytest.raises(StoppedError):
        dictionaries.fit("consensus", crossed.x, seed=0, progress=hear, **given)
    for x, seed in ((crossed.x, 1), (crossed.x + 1, 0)):
        with pytest.raises(InputError, match=r"half-00\.npz: holds the candidates of another fit .* remove it"):
            dictionaries.fit("consensus", x, seed=seed, **given)
    (tmp_path / "check.half-00.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"half-00\.npz: holds no candidates that can be read; remove it"):
        dictionaries.fit("consensus", crossed.x, seed=0, **given)


@pytest.mark.parametrize("n", [3, 20, 40])
def test_few_rows_give_a_dictionary_all_the_same(n: int) -> None:
    x = torch.randn(n, 5, generator=torch.Generator().manual_seed(0))
    made = dictionaries.fit("consensus", x, training=QUICK, seed=0)
    assert made.n_latents == 96
    if n <= 20:
        assert made.config.n_concepts == made.config.n_core == 0
        assert made.n_findings == 0
    codes = made.encode(x)
    assert made.decode(codes).shape == x.shape
    assert codes.to_csr().nnz > 0


def test_where_nothing_comes_back_there_is_no_concept_and_all_latents_are_residual() -> None:
    x = torch.randn(300, 12, generator=torch.Generator().manual_seed(0))
    for whole in (True, False):
        config = ConsensusConfig(12, 32, 4, pairs=4, with_residual=whole)
        made = dictionaries.fit("consensus", x, config=config, training=QUICK)
        assert made.config.n_concepts == 0
        assert made.n_latents >= 1
        assert made.encode(x).to_csr().nnz > 0


def test_without_residual_latents_the_dictionary_is_the_core(crossed, shared_state) -> None:
    config = ConsensusConfig(4, 64, 60, pairs=4, with_residual=False)  # more active latents than the core has
    made = dictionaries.fit("consensus", crossed.x, config=config, seed=0)
    n = made.n_latents
    assert n == made.config.n_core == shared_state.config.n_core
    assert made.config.k == n
    assert torch.allclose(made.threshold, shared_state.threshold[:n], atol=1e-5)
    assert torch.allclose(made.decoder, shared_state.decoder[:n], atol=1e-5)
    assert torch.equal(made.reproducibility, shared_state.reproducibility[:n])
    assert made.encode(crossed.x).to_csr().shape == (600, n)


def test_at_most_half_of_the_latents_are_of_the_core(crossed) -> None:
    for n_latents, most in ((8, 4), (2, 1), (1, 1)):
        config = ConsensusConfig(4, n_latents, 1, pairs=1)
        made = dictionaries.fit("consensus", crossed.x, config=config, training=QUICK)
        assert (made.n_latents, made.config.n_core) == (n_latents, most)


def test_a_wide_site_is_looked_at_in_its_first_axes() -> None:
    """Sixty dimensions, of which three hold types and state; the rest is noise, and readouts ignore what is beyond."""
    rng = np.random.default_rng(0)
    n, state = 500, rng.random(500) < 0.4
    kind = rng.integers(0, 2, n)
    basis = np.linalg.qr(rng.normal(size=(60, 60)))[0]
    u = rng.normal(size=(n, 60)) * np.linspace(0.5, 0.01, 60)
    u[:, 0] += np.where(kind, 3, -3)
    u[:, 1] += np.where(state, 2, -2)
    x = torch.from_numpy(u @ basis.T).float()
    made = dictionaries.fit("consensus", x, config=ConsensusConfig(60, 40, 4, pairs=2), training=QUICK)
    on = active(made, x)[:, : made.config.n_concepts]
    assert f1(on, state).max() > 0.95
    assert f1(on, kind == 1).max() > 0.95
    core = made.encoder[: made.config.n_core].double()
    _, axes = np.linalg.eigh(np.cov(x.numpy()[np.arange(n)], rowvar=False))
    outside = core @ torch.from_numpy(axes[:, :5].copy())
    assert float(outside.norm()) < 0.05 * float(core.norm())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(lambda x: x * 0 + 1, "all activations are equal"), (lambda x: x.index_fill(0, torch.tensor([3]), torch.nan), "")],
)
def test_rows_that_hold_nothing_are_named(spoil, message: str, crossed) -> None:
    with pytest.raises(InputError, match=message or "activations hold NaN or infinity"):
        dictionaries.fit("consensus", spoil(crossed.x))


def test_no_more_rows_are_halved_and_compared_than_it_says(crossed, monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 200)
    monkeypatch.setattr(module, "MOST_COMMON", 60)
    seen: list[tuple[int, int]] = []
    real = module.candidates
    monkeypatch.setattr(
        module,
        "candidates",
        lambda part, sample, seed: seen.append((len(part), len(sample))) or real(part, sample, seed),
    )
    dictionaries.fit("consensus", crossed.x, config=ConsensusConfig(4, 24, 3, pairs=2), training=QUICK)
    assert seen == [(100, 60)] * 4


def test_halves_share_no_group(crossed, monkeypatch) -> None:
    groups = np.random.default_rng(0).integers(0, 5, len(crossed.x))
    of_row = {row.numpy().tobytes(): group for row, group in zip(crossed.x, groups, strict=True)}
    seen: list[set[int]] = []
    real = module.candidates

    def look(part, sample, seed):
        rows = torch.from_numpy(part) * made_scale + made_centre
        seen.append({of_row[_nearest(row, crossed.x).numpy().tobytes()] for row in rows})
        return real(part, sample, seed)

    plain = dictionaries.fit("consensus", crossed.x, config=ConsensusConfig(4, 24, 3, pairs=1), training=QUICK)
    made_scale, made_centre = float(plain.scale), plain.centre.double()
    monkeypatch.setattr(module, "candidates", look)
    dictionaries.fit("consensus", crossed.x, config=ConsensusConfig(4, 24, 3, pairs=4), training=QUICK, groups=groups)
    assert len(seen) == 8
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert not first & second
        assert first | second == set(range(5))
    assert len({frozenset(one) for one in seen}) > 2


def _nearest(row: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return x[(x - row.float()).square().sum(1).argmin()]


def test_halves_are_as_even_as_the_order_of_groups_allows() -> None:
    group = np.repeat([7, 3, 9, 4], [50, 30, 15, 5])
    for seed in range(20):
        second = module.halved(group, np.random.default_rng(seed))
        order = np.unique(group)[np.random.default_rng(seed).permutation(4)]
        sizes = [int((group == g).sum()) for g in order]
        best = min(abs(sum(sizes[:cut]) - 50) for cut in (1, 2, 3))
        assert abs((~second).sum() - 50) == best
        assert all(len(set(second[group == g])) == 1 for g in order)
    alone = module.halved(np.arange(9), np.random.default_rng(0))
    assert alone.sum() == 5
    assert module.halved(np.zeros(4), np.random.default_rng(0)).sum() == 0


def test_what_reads_the_same_is_one_concept() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 5))
    on = rng.random(500) < 0.35
    rows[:, 0] += 6 * on
    graded = np.where(on, 0.3 + rng.exponential(size=500), 0)  # in the cells of the cluster, and unlike it
    other = (rows[:, 1] > 1).astype(np.float32)
    activations = np.stack([on, graded, other], axis=1).astype(np.float32)
    assert np.corrcoef(activations.T)[0, 1] < SAME
    frame = module._Frame(torch.zeros(5), 1.0, None, rows, np.arange(500), np.arange(500))
    groups = Groups(
        activations, np.array([1.0, 0.9, 0.8]), np.ones(3), np.array([False, True, True]), np.arange(3) == 1
    )
    readout, kept = module._readouts(frame, groups)
    assert kept.reproducibility.tolist() == [1.0, 0.8]
    assert len(readout.threshold) == 2
