"""Training recovers a planted truth, revives dead latents, stops early, and depends on the seed alone."""

import numpy as np
import pytest
import torch

from cellglass.activations import MemoryRows
from cellglass.dictionaries import TopK, TopKConfig, TrainConfig, train
from cellglass.errors import InputError


def test_planted_directions_and_codes_are_recovered(planted) -> None:
    dictionary = train(
        TopK(TopKConfig(20, 48, 2)), planted.x, TrainConfig(steps=700, batch_size=256, patience=100), seed=0
    )
    cosine = torch.nn.functional.normalize(dictionary.directions, dim=1) @ planted.directions.T
    best, match = cosine.max(dim=0)
    assert float((best > 0.95).float().mean()) >= 0.9
    codes = torch.from_numpy(dictionary.encode(planted.x).to_csr().toarray())
    found = (codes[:, match] > 0).float()
    truth = (planted.codes > 0).float()
    f1 = 2 * (found * truth).sum(0) / (found.sum(0) + truth.sum(0))
    assert float(f1.median()) > 0.9


def test_dead_latents_come_back_through_the_auxiliary_loss(planted) -> None:
    class Weak(TopK):
        """Half of its latents never win a place among the k largest."""

        def begin(self, u, target, seed) -> None:
            self.encoder[16:] *= 0.01

    def revived(weight: float) -> int:
        config = TrainConfig(steps=300, batch_size=256, dead_after=2000, aux_weight=weight, patience=100)
        dictionary = train(Weak(TopKConfig(20, 32, 2)), planted.x, config, seed=0)
        return int((dictionary.encode(planted.x).to_csr().getnnz(axis=0)[16:] > 0).sum())

    without, with_loss = revived(0.0), revived(1 / 32)
    assert without <= 2
    assert with_loss >= 10


def test_the_same_seed_gives_the_same_weights_whatever_the_global_state(planted) -> None:
    config, rows = TrainConfig(steps=50, draw=True), MemoryRows(planted.x, torch.full_like(planted.x, 0.1))

    def weights(seed: int, state: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(state)
        np.random.seed(state)  # noqa: NPY002
        return train(TopK(TopKConfig(20, 32, 3)), rows, config, seed=seed).state_dict()

    a, b, c = weights(1, 0), weights(1, 5), weights(2, 0)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["decoder"], c["decoder"])


def test_a_store_and_memory_train_alike(planted, tmp_path) -> None:
    from cellglass.activations import SiteBatch, Writer, open_store
    from cellglass.activations.manifest import StoredSite

    writer = Writer(tmp_path, 4000, "planted", {"z": StoredSite(20)}, shard_bytes=50_000)
    for start in range(0, 4000, 500):
        writer.add(start + 500, {"z": SiteBatch(planted.x[start : start + 500], np.arange(start, start + 500))})
    writer.close()
    config = TrainConfig(steps=40)
    disk = train(TopK(TopKConfig(20, 32, 3)), open_store(tmp_path).rows("z"), config, seed=0).state_dict()
    memory = train(TopK(TopKConfig(20, 32, 3)), planted.x, config, seed=0).state_dict()
    assert all(torch.equal(disk[name], memory[name]) for name in disk)


def test_what_is_stored_is_the_mean_the_scale_and_unit_rows(planted) -> None:
    learn = np.arange(3000)
    dictionary = train(
        TopK(TopKConfig(20, 32, 3)),
        planted.x,
        TrainConfig(steps=20),
        rows_train=learn,
        rows_valid=np.arange(3000, 4000),
    )
    deviation = planted.x[:3000].double() - planted.x[:3000].double().mean(0)
    assert torch.allclose(dictionary.centre, planted.x[:3000].mean(0), atol=1e-5)
    assert float(dictionary.scale) == pytest.approx(float(deviation.square().mean().sqrt()), rel=1e-5)
    assert torch.allclose(dictionary.decoder.norm(dim=1), torch.ones(32), atol=1e-5)
    assert not any(weight.requires_grad for weight in dictionary.parameters())


def test_it_stops_early_where_nothing_improves(planted) -> None:
    heard: list[int] = []
    config = TrainConfig(steps=1000, batch_size=128, check_every=5, patience=2, cooldown=0.05)
    train(TopK(TopKConfig(20, 8, 2)), planted.x, config, progress=lambda _what, done, _total: heard.append(done))
    assert heard[-1] < 700


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"aux_weight": -1.0}, "aux_weight"),
        ({"warmup": 0.8, "cooldown": 0.3}, "add up to at most 1"),
    ],
)
def test_a_wrong_config_is_named(options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig(**options)


def test_wrong_data_are_named() -> None:
    for x, message in (
        (torch.zeros(50, 3), "width 3"),
        (torch.ones(50, 4), "all activations are equal"),
        (torch.ones(2, 4), "too few"),
    ):
        with pytest.raises(InputError, match=message):
            train(TopK(TopKConfig(4, 8, 2)), x)
