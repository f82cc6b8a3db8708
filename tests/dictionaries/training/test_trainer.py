"""One training: its rate, its clipping, the weights that it keeps, and a state from which it goes on."""

import pytest
import torch

from cellglass.dictionaries import BatchTopK, BatchTopKConfig, Gated, GatedConfig, TopK, TopKConfig, TrainConfig
from cellglass.dictionaries.training.parallel import Parallel
from cellglass.dictionaries.training.trainer import Training, scaled
from cellglass.errors import InputError

D, M = 6, 30


def rows(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed)) * torch.linspace(2, 0.5, D)


def training(config: TrainConfig, dictionary=None, **role) -> Training:
    made = dictionary or TopK(TopKConfig(D, M, 4, **role))
    made.draw_weights(rows(200), rows(200)[:, : made.d_out], 0)
    return Training(made, config, rows(80, 1), Parallel())


def run(work: Training, steps: int, start: int = 0) -> Training:
    for i in range(start, start + steps):
        work.step(rows(32, 100 + i))
    return work


def test_the_rate_grows_stays_and_falls(monkeypatch) -> None:
    work = training(TrainConfig(steps=40, warmup=0.25, cooldown=0.5, learning_rate=2.0))
    rates = []
    monkeypatch.setattr(work, "_descend", lambda u, target, rate: rates.append(rate))
    run(work, 40)
    wanted = [2 * min((i + 1) / 10, 1, (40 - i) / 20) for i in range(40)]
    assert rates == pytest.approx(wanted)


def test_a_gradient_along_the_decoder_is_taken_out_and_the_rest_is_clipped(monkeypatch) -> None:
    work = training(TrainConfig(clip=0.01))
    decoder = work.dictionary.decoder
    before = decoder.detach().clone()
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(work.optimiser, "step", lambda: seen.extend(w.grad.clone() for w in work.weights))
    run(work, 1)
    norm = torch.stack([g.norm() for g in seen]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-4)
    place = next(i for i, w in enumerate(work.weights) if w is decoder)
    along = (seen[place] * before).sum(1)
    assert float(seen[place].norm()) > 1e-4
    assert float(along.abs().max()) < 1e-8


def test_decoder_rows_have_norm_one_after_every_step() -> None:
    work = training(TrainConfig(learning_rate=0.1))
    for i in range(5):
        run(work, 1, i)
        assert torch.allclose(work.dictionary.decoder.norm(dim=1), torch.ones(M), atol=1e-6)


def test_rows_since_a_latent_was_active_are_counted() -> None:
    work = training(TrainConfig(aux_weight=0.0, learning_rate=1e-9))
    with torch.no_grad():
        work.dictionary.encoder_bias[10:] = -100
    run(work, 3)
    since = work.rows_since_active
    assert (since[10:] == 96).all()
    assert (since[:10] < 96).any()


def test_the_best_weights_are_kept_not_the_last() -> None:
    work = run(training(TrainConfig(steps=400, check_every=5, learning_rate=0.01, warmup=0.0)), 50)
    best, weights = work.best_error, {name: value.clone() for name, value in work.best.items()}
    with torch.no_grad():
        work.dictionary.decoder.copy_(-work.dictionary.decoder)
    run(work, 5, 50)
    assert work.best_error == best
    assert all(torch.equal(work.best[name], weights[name]) for name in weights)
    work.finish()
    assert torch.equal(work.dictionary.decoder, weights["decoder"])


def test_a_kind_with_a_target_l0_keeps_its_last_weights_and_takes_all_steps() -> None:
    config = TrainConfig(steps=40, check_every=2, patience=1, cooldown=0.1)
    work = run(training(config, Gated(GatedConfig(D, M, 4))), 40)
    assert work.done
    assert work.end == 40
    assert torch.equal(work.best["encoder"], work.dictionary.encoder)


def test_a_training_that_runs_away_is_named() -> None:
    work = training(TrainConfig(check_every=1))
    with torch.no_grad():
        work.dictionary.decoder[0, 0] = torch.inf
    with pytest.raises(InputError, match=r"error of (nan|inf) at step 1; lower learning_rate \(0\.004\)"):
        run(work, 1)


@pytest.mark.parametrize("cut", [1, 7, 12])
@pytest.mark.parametrize("cls", [TopK, BatchTopK, Gated])
def test_what_is_restored_goes_on_bit_for_bit(cls, cut: int) -> None:
    config = TrainConfig(steps=30, check_every=4, dead_after=64)
    of = {TopK: TopKConfig, BatchTopK: BatchTopKConfig, Gated: GatedConfig}[cls]
    whole = run(training(config, cls(of(D, M, 3))), 20)
    stopped = run(training(config, cls(of(D, M, 3))), cut)
    tensors, numbers = stopped.state()
    kept = {name: value.detach().clone() for name, value in tensors.items()}
    run(stopped, 2, cut)  # what goes on does not change what was kept
    again = training(config, cls(of(D, M, 3)))
    again.restore(kept, numbers)
    run(again, 20 - cut, cut)
    a, b = whole.state(), again.state()
    assert a[1] == b[1]
    assert a[0].keys() == b[0].keys()
    assert all(torch.equal(a[0][name], b[0][name]) for name in a[0])


def test_a_transcoders_rows_are_split_and_scaled_each_by_its_own() -> None:
    dictionary = TopK(TopKConfig(4, M, 3, d_out=2))
    x = rows(50)
    dictionary.set_statistics(x.mean(0), x.var(0, correction=0))
    u, target = scaled(dictionary, x)
    assert u.shape == (50, 4)
    assert target.shape == (50, 2)
    for part in (u, target):
        assert torch.allclose(part.mean(0), torch.zeros(part.shape[1]), atol=1e-5)
        assert float(part.square().mean()) == pytest.approx(1, rel=1e-4)
