"""Dictionaries: sparse autoencoders, transcoders and baselines, all with the face of `base.Dictionary`."""

from cellglass.dictionaries.archetypal import Archetypal, ArchetypalConfig
from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.batchtopk import BatchTopK, BatchTopKConfig
from cellglass.dictionaries.crosslayer import CrossLayerConfig, CrossLayerTranscoder
from cellglass.dictionaries.defaults import default_config, default_training
from cellglass.dictionaries.gated import Gated, GatedConfig
from cellglass.dictionaries.jumprelu import JumpReLU, JumpReLUConfig
from cellglass.dictionaries.matryoshka import Matryoshka, MatryoshkaConfig
from cellglass.dictionaries.matryoshka_batchtopk import MatryoshkaBatchTopK, MatryoshkaBatchTopKConfig
from cellglass.dictionaries.registry import KINDS, fit, load
from cellglass.dictionaries.topk import TopK, TopKConfig
from cellglass.dictionaries.train import train, train_many
from cellglass.dictionaries.train_config import TrainConfig

__all__ = [
    "KINDS",
    "Archetypal",
    "ArchetypalConfig",
    "BatchTopK",
    "BatchTopKConfig",
    "Codes",
    "CrossLayerConfig",
    "CrossLayerTranscoder",
    "Dictionary",
    "Gated",
    "GatedConfig",
    "JumpReLU",
    "JumpReLUConfig",
    "Matryoshka",
    "MatryoshkaBatchTopK",
    "MatryoshkaBatchTopKConfig",
    "MatryoshkaConfig",
    "TopK",
    "TopKConfig",
    "TrainConfig",
    "default_config",
    "default_training",
    "fit",
    "load",
    "train",
    "train_many",
]
