"""A training that is stopped anywhere and run again comes out as if it had not been, bit for bit, for every kind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cellglass.dictionaries import TopK, TopKConfig, TrainConfig, train, train_many
from cellglass.dictionaries.registry import KINDS, trained
from cellglass.errors import InputError
from cellglass.vocabulary import JOINT

MADE = [*(kind for kind in trained() if KINDS[kind].learn is None), *JOINT]
TRAINING = TrainConfig(
    steps=50,
    batch_size=32,
    learning_rate=0.05,
    check_every=2,
    patience=1,
    cooldown=0.1,
    dead_after=100,
    checkpoint_seconds=0,
)
PASS = 270 // 32
"""Steps of a pass over the 270 rows that are learned from."""


class StoppedError(Exception):
    pass


def stop_at(step: int):
    def hear(_what: str, done: int, _total: int) -> None:
        if done == step:
            raise StoppedError

    return hear


def data(kind: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    width = 24 if kind in JOINT else 8
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(300, width, generator=noise) * torch.linspace(3, 0.2, width)
    return x, torch.randn(300, width, generator=noise) + x.roll(1, 1) if kind in JOINT else None


def weights(dictionary) -> dict[str, torch.Tensor]:
    return dict(dictionary.state_dict())


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("kind", MADE)
def test_stopped_and_run_again_equals_uninterrupted(kind: str, small_config, tmp_path) -> None:
    x, y = data(kind)
    path = tmp_path / "deep" / "checkpoint.safetensors"
    config = small_config(kind, 8, 24, 3)
    heard: list[tuple[int, int]] = []

    def made(**options):
        return train(KINDS[kind].cls(config), x, TRAINING, target=y, seed=3, **options)

    whole = weights(made(progress=lambda _what, done, total: heard.append((done, total))))
    end = heard[-1][1]
    early = [done for done, total in heard if total < TRAINING.steps]
    assert bool(early) != KINDS[kind].cls.targets_l0, "the data no longer make it stop early"
    # A stop at step s leaves the state after s - 1 steps: the first, both sides of a pass's end, cool-down, end.
    stops = sorted({1, 2, PASS, PASS + 1, PASS + 2, 2 * PASS + 1, *early[:2], *early[-1:], end - 1, end})
    for step in [s for s in stops if s <= end]:
        with pytest.raises(StoppedError):
            made(checkpoint=path, progress=stop_at(step))
        assert path.exists() == (step > 1)
    assert same(weights(made(checkpoint=path)), whole)
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


def test_a_checkpoint_of_the_last_step_only_needs_to_be_read(tmp_path) -> None:
    x, _ = data("topk")
    path, kept = tmp_path / "c", tmp_path / "kept"
    config, training = TopKConfig(8, 24, 3), TrainConfig(steps=12, batch_size=32, check_every=5, checkpoint_seconds=0)

    def keep_all(_what: str, done: int, _total: int) -> None:
        if path.exists():
            kept.write_bytes(path.read_bytes())

    whole = weights(train(TopK(config), x, training, seed=1, checkpoint=path, progress=keep_all))
    state = load_file(kept)
    with pytest.raises(StoppedError):
        train(TopK(config), x, training, seed=1, checkpoint=path, progress=stop_at(12))
    assert all(torch.equal(value, load_file(path)[name]) for name, value in state.items())
    assert same(weights(train(TopK(config), x, training, seed=1, checkpoint=path)), whole)


def test_a_stream_goes_on_too(tmp_path) -> None:
    x, _ = data("topk")

    def source(epoch: int):
        order = np.random.default_rng(epoch).permutation(300)
        for start in range(0, 300, 45):
            yield x[order[start : start + 45]]

    def made(**options):
        return train(TopK(TopKConfig(8, 24, 3)), source, TRAINING, seed=3, **options)

    whole = weights(made())
    for step in (2, 5, 8, 9, 17):
        with pytest.raises(StoppedError):
            made(checkpoint=tmp_path / "c", progress=stop_at(step))
    assert same(weights(made(checkpoint=tmp_path / "c")), whole)


def test_draws_from_the_posterior_go_on_too(tmp_path) -> None:
    from cellglass.activations import MemoryRows

    x, _ = data("topk")
    rows = MemoryRows(x, x.abs() / 10)

    def made(**options):
        return train(TopK(TopKConfig(8, 24, 3)), rows, TRAINING, seed=3, **options)

    whole = weights(made())
    for step in (3, 9, 14):
        with pytest.raises(StoppedError):
            made(checkpoint=tmp_path / "c", progress=stop_at(step))
    assert same(weights(made(checkpoint=tmp_path / "c")), whole)


def test_several_trainings_go_on_together(small_config, tmp_path) -> None:
    x, _ = data("topk")

    def made(**options):
        configs = [small_config("topk", 8, 20, 3), small_config("gated", 8, 16, 3), small_config("batchtopk", 8, 12, 2)]
        return train_many([KINDS[c.kind].cls(c) for c in configs], x, TRAINING, seeds=[1, 2, 3], **options)

    whole = [weights(d) for d in made()]
    for step in (2, 9, 30, 47, 50):
        with pytest.raises(StoppedError):
            made(checkpoint=tmp_path / "c", progress=stop_at(step))
    assert all(same(weights(d), w) for d, w in zip(made(checkpoint=tmp_path / "c"), whole, strict=True))
    assert not (tmp_path / "c").exists()


def test_a_checkpoint_of_another_training_is_an_error(tmp_path) -> None:
    x, _ = data("topk")
    path = tmp_path / "c"

    plain = TopKConfig(8, 24, 3)

    def made(x=x, config=plain, training=TRAINING, seed=3, **options):
        return train(TopK(config), x, training, seed=seed, checkpoint=path, **options)

    with pytest.raises(StoppedError):
        made(progress=stop_at(5))
    before = path.read_bytes()
    held = np.arange(270, 300)
    moved = x.clone()
    moved[:200] += 0.1
    for others in (
        {"seed": 4},
        {"config": TopKConfig(8, 24, 4)},
        {"training": TrainConfig(steps=51, batch_size=32, checkpoint_seconds=0)},
        {"x": x + 1},
        {"x": moved},
        {"rows_train": np.arange(270), "rows_valid": held},
    ):
        with pytest.raises(InputError, match=r"c: is the checkpoint of another training .*; remove it to start anew"):
            made(**others)
    assert path.read_bytes() == before
    with pytest.raises(StoppedError):
        made(training=TrainConfig(**{**vars(TRAINING), "checkpoint_seconds": 5.0}), progress=stop_at(9))
    path.unlink()
    with pytest.raises(StoppedError):
        made(rows_train=np.arange(100), rows_valid=held, progress=stop_at(5))
    with pytest.raises(InputError, match="another training"):
        made(rows_train=np.arange(100, 200), rows_valid=held)


def test_seeds_may_be_numpys_numbers(tmp_path) -> None:
    x, _ = data("topk")
    training = TrainConfig(steps=4, batch_size=np.int64(32))
    a, b = (
        train(TopK(TopKConfig(8, 24, 3)), x, training, seed=seed, checkpoint=tmp_path / "c")
        for seed in (np.int64(7), 7)
    )
    assert same(weights(a), weights(b))


DAMAGES = ["truncated", "other bytes", "empty", "another file", "other metadata", "a tensor is missing"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_an_error(damage: str, tmp_path) -> None:
    x, _ = data("topk")
    path = tmp_path / "c"
    with pytest.raises(StoppedError):
        train(TopK(TopKConfig(8, 24, 3)), x, TRAINING, checkpoint=path, progress=stop_at(5))
    whole = path.read_bytes()
    if damage == "another file":
        save_file({"encoder": torch.zeros(3)}, path)
    elif damage == "a tensor is missing":
        with safe_open(path, "pt") as file:
            about = file.metadata()
        tensors = load_file(path)
        del tensors["0/rows_since_active"]
        save_file(tensors, path, metadata=about)
    elif damage == "other metadata":
        save_file({"encoder": torch.zeros(3)}, path, metadata={"cellglass": json.dumps({"format": 1})})
    else:
        path.write_bytes({"truncated": whole[:-10], "other bytes": b"x" * 100, "empty": b""}[damage])
    with pytest.raises(InputError, match="c: is no whole checkpoint of a training; remove it to start anew"):
        train(TopK(TopKConfig(8, 24, 3)), x, TRAINING, checkpoint=path)


KILLED = """
import sys, torch
from cellglass.dictionaries import BatchTopK, BatchTopKConfig, TrainConfig, train
x = torch.randn(3000, 16, generator=torch.Generator().manual_seed(0)) * torch.linspace(3, 0.2, 16)
config = TrainConfig(steps=int(sys.argv[2]), batch_size=256, checkpoint_seconds=0, patience=1000)
def hear(what, done, total):
    print(done, flush=True)
made = train(BatchTopK(BatchTopKConfig(16, 64, 4)), x, config, checkpoint=sys.argv[1] + "/c", progress=hear)
made.save(sys.argv[1] + "/d")
"""


@pytest.mark.slow
def test_a_killed_process_is_gone_on_with(tmp_path) -> None:
    def start(folder, steps: int = 300) -> subprocess.Popen[str]:
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-c", KILLED, str(folder), str(steps)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    with start(tmp_path / "whole") as process:
        process.communicate(timeout=300)
    firsts, lasts = [], []
    for wait in (20, 130, 290):
        with start(tmp_path / "killed") as process:
            assert process.stdout is not None
            for line in process.stdout:
                firsts.append(int(line))
                if int(line) >= wait:
                    break
            time.sleep(0.003 * wait % 0.01)
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
            lasts.append(int(rest[-1]) if rest else firsts[-1])
            assert process.wait() == -signal.SIGKILL
        assert not (tmp_path / "killed" / "d").exists()
    with start(tmp_path / "killed") as process:
        out, _ = process.communicate(timeout=300)
    began = int(out.split()[0])
    assert lasts[-1] <= began + 1 <= 300, "it began anew"
    a, b = (load_file(tmp_path / name / "d" / "weights.safetensors") for name in ("whole", "killed"))
    assert same(a, b)
    left = {path.name for path in (tmp_path / "killed").iterdir() if not path.name.startswith(".writing-")}
    assert left == {"d"}
