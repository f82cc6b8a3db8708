"""A stream gives every cell once a pass, as the model does, in an order that the seed and the pass make."""

import torch

from cellglass.activations import stream
from cellglass.dictionaries import TopK, TopKConfig, TrainConfig, train


def _sorted(rows: torch.Tensor) -> torch.Tensor:
    return rows[torch.argsort(rows[:, 0])]


def test_a_pass_gives_what_the_model_gives_for_every_cell_once(make_model, cells) -> None:
    model = make_model()
    expected = model.activations(model.align(cells), ["hidden.0"])["hidden.0"]
    rows = stream(model, cells, "hidden.0", batch_size=7)
    first, again, second = (torch.cat(list(rows(number))) for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    order = torch.cdist(first, expected).argmin(dim=1)
    assert torch.allclose(first, expected[order], atol=1e-5)
    assert torch.allclose(first.sum(0), expected.sum(0), atol=1e-3)
    assert torch.allclose(second.sum(0), expected.sum(0), atol=1e-3)


def test_draws_scatter_around_the_mean_by_the_sd(make_model, cells) -> None:
    model = make_model()
    mean, sd = model.posterior(model.align(cells), "z")
    rows = stream(model, cells, "z", batch_size=cells.n_cells)
    drawn = torch.stack([torch.cat(list(rows(number))).sum(0) for number in range(300)])
    assert torch.allclose(drawn.mean(0), mean.sum(0), atol=float(5 * sd.square().sum(0).sqrt().max() / 300**0.5))
    assert torch.allclose(drawn.std(0), sd.square().sum(0).sqrt(), rtol=0.3)
    still = stream(model, cells, "z", batch_size=cells.n_cells, draw=False)
    assert torch.allclose(torch.cat(list(still(0))).sum(0), mean.sum(0), atol=1e-3)


def test_noise_is_drawn_anew_for_each_cell_batch_pass_and_seed(make_model, cells) -> None:
    class Numbered(make_model):
        """The first number of a row says which cell it is, the others are noise alone."""

        def posterior(self, some, site):
            mean = torch.zeros(some.n_cells, 4)
            mean[:, 0] = torch.tensor([int(name[1:]) for name in some.obs.index])
            return mean, torch.tensor([0.0, 1, 1, 1]).repeat(some.n_cells, 1)

    passes = []
    for seed, number in [(seed, number) for seed in (0, 1) for number in range(10)]:
        drawn = torch.cat(list(stream(Numbered(), cells, "z", batch_size=10, seed=seed)(number)))
        assert (drawn[:, 0].sort().values == torch.arange(103)).all()
        passes.append(drawn[drawn[:, 0].long().argsort(), 1:])
    noise = torch.cat(passes)
    assert len(torch.unique((noise * 1e4).round(), dim=0)) == len(noise)
    assert (noise.mean(0).abs() < 5 / len(noise) ** 0.5).all()
    assert ((noise.std(0) - 1).abs() < 5 / len(noise) ** 0.5).all()


def test_training_reads_it_without_a_store(make_model, cells) -> None:
    model = make_model()
    config = TrainConfig(steps=20, batch_size=16, check_every=5)
    rows = stream(model, cells, "hidden.0", batch_size=10)
    trained = train(TopK(TopKConfig(6, 12, 3)), rows, config)
    again = train(TopK(TopKConfig(6, 12, 3)), rows, config)
    assert torch.equal(trained.decoder, again.decoder)
    x = model.activations(model.align(cells), ["hidden.0"])["hidden.0"]
    miss = x - trained.decode(trained.encode(x))
    assert float(miss.square().sum()) < 0.5 * float((x - x.mean(0)).square().sum())


def test_rows_of_tokens_come_once_a_pass_in_another_order(make_model, cells) -> None:
    model = make_model()
    wanted = model.token_activations(model.align(cells), ["tokens"])["tokens"][0]
    rows = stream(model, cells, "tokens", batch_size=20)
    first, again, second = (torch.cat(list(rows(number))) for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    for found in (first, second):
        assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, wanted.tolist()))
