"""Settings that cannot be are named; what is left open comes to what the size of the work asks for."""

import os

import pytest
import torch

from cellglass.dictionaries import TrainConfig
from cellglass.dictionaries.training.config import PRODUCTS
from cellglass.errors import InputError

NAN = float("nan")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"steps": 0}, "steps is 0"),
        ({"aux_k": 0}, "aux_k is 0"),
        ({"dead_after": 0}, "dead_after is 0"),
        ({"check_every": -1}, "check_every is -1"),
        ({"patience": 0}, "patience is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be above 0"),
        ({"learning_rate": NAN}, "learning_rate is nan"),
        ({"clip": -1.0}, "clip is -1.0"),
        ({"aux_weight": -1.0}, "aux_weight is -1.0; it must be 0 or more"),
        ({"warmup": 0.8, "cooldown": 0.3}, "add up to at most 1"),
        ({"warmup": -0.1}, "warmup -0.1"),
        ({"cooldown": NAN}, "cooldown nan"),
        ({"product": "float16"}, "product is 'float16'; it can be auto, float32, bfloat16"),
    ],
)
def test_a_wrong_setting_is_named(options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainConfig(**options)


def test_small_work_takes_one_thread_and_large_work_all_cores() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert TrainConfig(batch_size=512).thread_count(128, 20) == 1
    assert TrainConfig(batch_size=4096).thread_count(4096, 512) == cores
    assert TrainConfig(threads=3).thread_count(4096, 512) == TrainConfig(threads=3).thread_count(4, 2) == 3


def test_the_device_that_is_asked_for_is_taken_or_named() -> None:
    assert TrainConfig(device="cpu").torch_device(10**6, 10**3) == torch.device("cpu")
    assert TrainConfig().torch_device(32, 8) == torch.device("cpu")
    assert TrainConfig().torch_device(4096, 512).type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InputError, match="device is 'gpu'; use auto, cpu"):
        TrainConfig(device="gpu").torch_device(8, 8)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device is 'cuda:0', but torch sees no GPU"):
            TrainConfig(device="cuda:0").torch_device(8, 8)


def test_the_product_is_full_on_a_processor_and_narrow_on_a_gpu_unless_told() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert TrainConfig().product_type(cpu) == torch.float32
    assert TrainConfig().product_type(gpu) == torch.bfloat16
    for name, kind in PRODUCTS.items():
        assert TrainConfig(product=name).product_type(cpu) == TrainConfig(product=name).product_type(gpu) == kind
