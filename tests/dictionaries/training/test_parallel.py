"""Alone nothing is done; two real processes train to the same weights, and TopK to those of one process."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from cellglass.dictionaries.training.parallel import Parallel

WORK = """
import os, sys
import torch
from torch import distributed
from cellglass.dictionaries import *

def data():
    noise = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(20, 12, generator=noise), dim=1)
    codes = torch.rand(2000, 20, generator=noise) * (torch.rand(2000, 20, generator=noise) < 0.15)
    return codes @ directions + 3

def main(folder, rank, world):
    rank, world = int(rank), int(world)
    if world > 1:
        distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
        from cellglass.dictionaries.training.parallel import Parallel
        p = Parallel()
        assert (p.rank, p.world, p.share) == (rank, world, (rank, world))
        assert p.mean(torch.tensor(4.0 * rank)) == 2
        assert p.first(torch.tensor(7.0 - rank)) == 7
        assert p.any(torch.tensor([rank == 0, False, rank == 1])).tolist() == [True, False, True]
        a, b = (torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), ()))
        a.grad, b.grad = torch.full((2, 3), 2.0 * rank), torch.tensor(1.0 + rank)
        p.average_gradients([a, torch.nn.Parameter(torch.zeros(5)), b])
        assert bool((a.grad == 1).all()) and float(b.grad) == 1.5
    quick = dict(steps=80, batch_size=128, check_every=10, patience=100)
    x = data()
    for name, dictionary, config in (
        ("topk", TopK(TopKConfig(12, 24, 3)), TrainConfig(**quick, aux_weight=0.0)),
        ("batchtopk", BatchTopK(BatchTopKConfig(12, 24, 3)), TrainConfig(**quick, dead_after=300)),
        ("gated", Gated(GatedConfig(12, 24, 3)), TrainConfig(**quick, aux_weight=0.0)),
    ):
        checkpoint = f"{folder}/checkpoint-{name}"
        def stop(what, done, total):
            if done == 41:
                raise KeyboardInterrupt
        config = TrainConfig(**{**vars(config), "checkpoint_seconds": 0})
        whole = train(dictionary, x, config, seed=1)
        whole.save(f"{folder}/{name}-{rank}-of-{world}")
        if name == "topk":
            if world > 1:
                distributed.barrier()
            again = type(dictionary)(dictionary.config)
            try:
                train(again, x, config, seed=1, checkpoint=checkpoint, progress=stop)
            except KeyboardInterrupt:
                pass
            if world > 1:
                distributed.barrier()
            again = train(again, x, config, seed=1, checkpoint=checkpoint)
            assert all(torch.equal(again.state_dict()[n], w) for n, w in whole.state_dict().items())
            if world > 1:
                distributed.barrier()
            assert not os.path.exists(checkpoint)
    if world > 1:
        distributed.destroy_process_group()

main(*sys.argv[1:])
"""


def test_alone_everything_is_given_back_as_it_is() -> None:
    alone = Parallel()
    assert alone.share == (0, 1)
    value, weight = torch.arange(3.0), torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    assert alone.mean(value) is value
    assert alone.first(value) is value
    assert alone.any(value > 1).tolist() == [False, False, True]
    alone.average_gradients([weight])
    assert weight.grad.tolist() == [1, 1]


@pytest.mark.slow
def test_two_processes_train_to_the_same_weights_and_to_those_of_one(tmp_path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    started = []
    for rank, world in ((0, 2), (1, 2), (0, 1)):
        if world == 1:  # checkpoints of both lie in one folder
            (tmp_path / "alone").mkdir()
        folder = tmp_path / "alone" if world == 1 else tmp_path
        command = [sys.executable, "-c", WORK, str(folder), str(rank), str(world)]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for process in started:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    for name in ("topk", "batchtopk", "gated"):
        first, second = (load_file(tmp_path / f"{name}-{rank}-of-2" / "weights.safetensors") for rank in (0, 1))
        alone = load_file(tmp_path / "alone" / f"{name}-0-of-1" / "weights.safetensors")
        assert first.keys() == second.keys() == alone.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
        apart = max(float((first[key] - alone[key]).abs().max()) for key in first)
        # Of BatchTopK, each process chooses among its own half of the batch.
        assert apart < (0.5 if name == "batchtopk" else 1e-5)
