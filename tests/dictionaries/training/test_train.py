"""Training revives dead latents, stops early, depends on the seed alone, and takes rows from anywhere in little memory.

That it finds a planted truth is in ``test_planted.py``, that it goes on after a stop in ``test_checkpoint.py``.
"""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from cellglass.activations import MemoryRows, SiteBatch, Writer, open_store
from cellglass.activations.manifest import StoredSite
from cellglass.dictionaries import BatchTopK, BatchTopKConfig, TopK, TopKConfig, TrainConfig, train, train_many
from cellglass.dictionaries.registry import KINDS, trained
from cellglass.errors import InputError


def same(a, b) -> bool:
    """Whether two dictionaries hold the same weights, bit for bit."""
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def explained(dictionary, x: torch.Tensor) -> float:
    residual = x - dictionary.decode(dictionary.encode(x))
    return 1 - float(residual.square().sum() / (x - x.mean(0)).square().sum())


def store_of(folder, blocks, width: int, shard_bytes: int = 1 << 24):
    """A store of one site with these blocks of rows."""
    total = sum(len(block) for block in blocks)
    writer, start = Writer(folder, total, "planted", {"z": StoredSite(width)}, shard_bytes=shard_bytes), 0
    for block in blocks:
        writer.add(start + len(block), {"z": SiteBatch(block, np.arange(start, start + len(block)))})
        start += len(block)
    writer.close()
    return open_store(folder)


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
    store = store_of(tmp_path, torch.split(planted.x, 500), 20, shard_bytes=50_000)
    config = TrainConfig(steps=40)
    disk = train(TopK(TopKConfig(20, 32, 3)), store.rows("z"), config, seed=0)
    assert same(disk, train(TopK(TopKConfig(20, 32, 3)), planted.x, config, seed=0))
    assert same(disk, train(TopK(TopKConfig(20, 32, 3)), planted.x.double().numpy(), config, seed=0))


# -- straight from a model -------------------------------------------------------------------------------------------


def test_a_model_that_runs_beside_the_training_equals_its_stored_output(planted, tmp_path) -> None:
    noise = torch.Generator().manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(20, 40), torch.nn.ReLU(), torch.nn.Linear(40, 16))
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=noise) / 4)

    def run(epoch: int):
        """Batches of another size than training's, in another order in each pass, with gradient as a model gives it."""
        order = torch.randperm(4000, generator=torch.Generator().manual_seed(epoch))
        for rows in torch.split(order, 96):
            yield model(planted.x[rows])

    with torch.no_grad():
        stored = [[piece.detach() for piece in run(epoch)] for epoch in range(3)]
    config = TrainConfig(steps=25, batch_size=256)

    def made(source):
        return train(BatchTopK(BatchTopKConfig(16, 32, 3)), source, config, seed=0)

    live = made(run)
    assert same(live, made(lambda epoch: stored[epoch]))
    assert same(live, made(lambda epoch: [torch.cat(stored[epoch])]))
    assert all(weight.grad is None for weight in model.parameters())
    once = replace(config, steps=12)
    assert same(
        train(TopK(TopKConfig(16, 32, 3)), (piece for piece in stored[0]), once, seed=0),
        train(TopK(TopKConfig(16, 32, 3)), run, once, seed=0),
    )
    output = torch.cat(stored[0])
    assert explained(train(TopK(TopKConfig(16, 64, 6)), run, TrainConfig(steps=150), seed=0), output) > 0.8


def test_a_transcoder_takes_inputs_and_outputs_side_by_side_from_a_stream(planted) -> None:
    x, y = planted.x, planted.codes @ torch.randn(24, 7, generator=torch.Generator().manual_seed(0))
    pieces = torch.split(torch.cat([x, y], dim=1), 300)
    config = TrainConfig(steps=150, batch_size=128, learning_rate=1e-2)
    dictionary = train(TopK(TopKConfig(20, 48, 2, d_out=7)), pieces, config, seed=0)
    assert torch.allclose(dictionary.centre_out, y[800:].mean(0), atol=1e-5)
    residual = y - dictionary.decode(dictionary.encode(x))
    assert float(residual.square().sum() / (y - y.mean(0)).square().sum()) < 0.2


def test_what_a_stream_cannot_be_is_named(planted) -> None:
    stream = torch.split(planted.x, 500)
    for options, message in (
        ({"rows_train": [0]}, "a stream has no rows to name"),
        ({"rows_valid": [0]}, "a stream has no rows to name"),
        ({"target": planted.x}, "pass x alone"),
    ):
        with pytest.raises(InputError, match=message):
            train(TopK(TopKConfig(20, 32, 3)), stream, **options)
    with pytest.raises(InputError, match="rows have width 20, but the transcoder reads 20 and writes 4; give the rows"):
        train(TopK(TopKConfig(20, 32, 3, d_out=4)), stream)
    with pytest.raises(InputError, match="width 20, but the dictionary reads width 19"):
        train(TopK(TopKConfig(19, 32, 3)), stream)


# -- several in one pass ---------------------------------------------------------------------------------------------


def test_several_in_one_pass_equal_each_alone(planted, small_config) -> None:
    config = TrainConfig(steps=60, batch_size=64, check_every=3, patience=1, cooldown=0.1, learning_rate=0.03)
    configs = [TopKConfig(20, 32, 3), TopKConfig(20, 32, 3), TopKConfig(20, 48, 5), small_config("gated", 20, 24, 2)]
    seeds = [4, 5, 6, 7]

    def several(x) -> list:
        return train_many([KINDS[c.kind].cls(c) for c in configs], x, config, seeds=seeds)

    ours = several(planted.x)
    assert same(ours[0], train(TopK(configs[0]), planted.x, config, seed=4))
    assert not torch.equal(ours[0].encoder, ours[1].encoder)
    # The batches of a stream do not depend on a seed: there each equals its own training.
    stream = torch.split(planted.x, 300)
    for made, c, seed in zip(several(stream), configs, seeds, strict=True):
        assert same(made, train(KINDS[c.kind].cls(c), stream, config, seed=seed))
    # With rows, the others do not depend on what is trained beside them.
    pair = train_many([TopK(TopKConfig(20, 8, 1)), TopK(configs[2])], planted.x, config, seeds=[4, 6])
    assert same(pair[1], ours[2])


def test_progress_hears_of_the_longest(planted) -> None:
    heard: list[tuple[str, int, int]] = []
    train_many(
        [TopK(TopKConfig(20, 24, 2)), TopK(TopKConfig(20, 24, 3))],
        planted.x,
        TrainConfig(steps=7, batch_size=64),
        seeds=[0, 1],
        progress=lambda *what: heard.append(what),
    )
    assert heard == [("train dictionary", i, 7) for i in range(1, 8)]


def test_a_seed_for_each_is_asked_for(planted) -> None:
    for dictionaries, seeds in (([], []), ([TopK(TopKConfig(20, 24, 2))], [0, 1])):
        with pytest.raises(InputError, match=f"{len(dictionaries)} dictionaries and {len(seeds)} seeds"):
            train_many(dictionaries, planted.x, seeds=seeds)


# -- what is not asked for -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in trained() if KINDS[kind].learn is None])
def test_a_narrow_product_trains_nearly_as_well(kind: str, planted, small_config) -> None:
    config = TrainConfig(steps=100, batch_size=128, learning_rate=1e-2, patience=100)
    wide, narrow = (
        explained(
            train(KINDS[kind].cls(small_config(kind, 20, 32, 3)), planted.x, replace(config, product=p)), planted.x
        )
        for p in ("float32", "bfloat16")
    )
    assert narrow > wide - 0.03
    assert narrow > 0.7


def test_a_dictionary_that_was_trained_before_begins_anew(planted) -> None:
    config = TrainConfig(steps=20, batch_size=64)
    dictionary = train(TopK(TopKConfig(20, 24, 2)), planted.x, config, seed=5)
    assert same(train(dictionary, planted.x, config, seed=0), train(TopK(TopKConfig(20, 24, 2)), planted.x, config))


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


def test_wrong_data_are_named() -> None:
    for x, message in (
        (torch.zeros(50, 3), "width 3"),
        (torch.ones(50, 4), "all activations are equal"),
        (torch.ones(2, 4), "too few"),
    ):
        with pytest.raises(InputError, match=message):
            train(TopK(TopKConfig(4, 8, 2)), x)
    x = torch.randn(60, 4)
    for options, message in (
        ({"target": x}, "target is for transcoders"),
        ({"rows_train": [0, 70]}, "rows 0 to 59"),
    ):
        with pytest.raises(InputError, match=message):
            train(TopK(TopKConfig(4, 8, 2)), x, **options)
    with pytest.raises(InputError, match="they must be of the same cells"):
        train(TopK(TopKConfig(4, 8, 2, d_out=4)), x, target=x[:50])
    for bad in (torch.nan, torch.inf):
        with pytest.raises(InputError, match="NaN or infinity"):
            train(TopK(TopKConfig(4, 8, 2)), [torch.where(x == x[30, 0], bad, x)], TrainConfig(batch_size=16))


PEAK = """
import sys
from pathlib import Path
from cellglass.activations import open_store
from cellglass.dictionaries import TopK, TopKConfig, TrainConfig, train
rows = open_store(sys.argv[1]).rows("z")
train(TopK(TopKConfig(64, 256, 8)), rows, TrainConfig(steps=int(sys.argv[2]), patience=10**6, batch_size=512))
# Not ru_maxrss: that of a process that was forked begins with its parent's.
print(*(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_peak_memory_does_not_grow_with_the_rows(tmp_path) -> None:
    def blocks(n: int):
        noise = torch.Generator().manual_seed(0)
        return [torch.randn(2000, 64, generator=noise) for _ in range(n // 2000)]

    def peak(n: int) -> float:
        folder = tmp_path / str(n)
        store_of(folder, blocks(n), 64)
        command = [sys.executable, "-c", PEAK, str(folder), str(n // 512 + 50)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
        return float(run.stdout) / 1024

    few, more, many = peak(10_000), peak(100_000), peak(400_000)
    # Rows beyond a buffer of 65,536 (16 MiB, and what its shuffling takes) need nothing; the rows alone are 98 MiB.
    assert many - more < 20
    assert many - few < 75


def test_several_learn_each_from_its_own_columns(planted) -> None:
    config = TrainConfig(steps=30, batch_size=128)
    x = torch.cat([planted.x, planted.x.flip(1) * 2], 1)
    columns = [np.arange(20), 20 + np.arange(20)]
    made = [TopK(TopKConfig(20, 8, 1)) for _ in columns]
    both = train_many(made, x, config, seeds=[4, 6], columns=columns)
    alone = train(TopK(TopKConfig(20, 8, 1)), planted.x, config, seed=4)
    assert same(both[0], alone)
    assert explained(both[1], x[:, 20:]) > 0
    assert not same(both[0], both[1])
    for wrong, message in [(columns[:1], "columns for 1"), ([columns[0], [40]], "between 0 and 39"),
                           ([columns[0], [1, 2]], "have width 2")]:  # fmt: skip
        with pytest.raises(InputError, match=message):
            train_many(made, x, config, seeds=[4, 6], columns=wrong)
