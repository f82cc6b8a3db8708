"""Dictionaries: sparse autoencoders and the baselines beside them, all with the face of `base.Dictionary`."""

from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.defaults import default_config
from cellglass.dictionaries.matryoshka import Matryoshka, MatryoshkaConfig
from cellglass.dictionaries.registry import KINDS, fit, load
from cellglass.dictionaries.topk import TopK, TopKConfig
from cellglass.dictionaries.train import TrainConfig, train

__all__ = [
    "KINDS",
    "Codes",
    "Dictionary",
    "Matryoshka",
    "MatryoshkaConfig",
    "TopK",
    "TopKConfig",
    "TrainConfig",
    "default_config",
    "fit",
    "load",
    "train",
]
