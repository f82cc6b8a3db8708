"""Dictionaries: sparse autoencoders, transcoders and baselines, all with the face of `base.Dictionary`."""

from cellglass.dictionaries.base import Codes, Dictionary
from cellglass.dictionaries.kinds.archetypal import Archetypal, ArchetypalConfig
from cellglass.dictionaries.kinds.batchtopk import BatchTopK, BatchTopKConfig
from cellglass.dictionaries.kinds.crosslayer import CrossLayerConfig, CrossLayerTranscoder
from cellglass.dictionaries.kinds.gated import Gated, GatedConfig
from cellglass.dictionaries.kinds.jumprelu import JumpReLU, JumpReLUConfig
from cellglass.dictionaries.kinds.matryoshka import Matryoshka, MatryoshkaConfig
from cellglass.dictionaries.kinds.matryoshka_batchtopk import MatryoshkaBatchTopK, MatryoshkaBatchTopKConfig
from cellglass.dictionaries.kinds.topk import TopK, TopKConfig
from cellglass.dictionaries.registry import KINDS, fit, load
from cellglass.dictionaries.training.config import TrainConfig
from cellglass.dictionaries.training.defaults import default_config, default_training
from cellglass.dictionaries.training.train import train, train_many

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
