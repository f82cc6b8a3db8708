"""Dictionaries: sparse autoencoders, transcoders and baselines, all with the face of `base.Dictionary`."""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.dictionaries.base import Codes, Dictionary
    from cellglass.dictionaries.fitting import fit, load
    from cellglass.dictionaries.kind import DictionaryKind
    from cellglass.dictionaries.kinds.archetypal import Archetypal, ArchetypalConfig
    from cellglass.dictionaries.kinds.batchtopk import BatchTopK, BatchTopKConfig
    from cellglass.dictionaries.kinds.consensus import Consensus, ConsensusConfig
    from cellglass.dictionaries.kinds.crosslayer import CrossLayerConfig, CrossLayerTranscoder
    from cellglass.dictionaries.kinds.gated import Gated, GatedConfig
    from cellglass.dictionaries.kinds.jumprelu import JumpReLU, JumpReLUConfig
    from cellglass.dictionaries.kinds.matryoshka import Matryoshka, MatryoshkaConfig
    from cellglass.dictionaries.kinds.matryoshka_batchtopk import MatryoshkaBatchTopK, MatryoshkaBatchTopKConfig
    from cellglass.dictionaries.kinds.topk import TopK, TopKConfig
    from cellglass.dictionaries.registry import KINDS
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
    "Consensus",
    "ConsensusConfig",
    "CrossLayerConfig",
    "CrossLayerTranscoder",
    "Dictionary",
    "DictionaryKind",
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

_WHERE = {
    "KINDS": "cellglass.dictionaries.registry",
    "Archetypal": "cellglass.dictionaries.kinds.archetypal",
    "ArchetypalConfig": "cellglass.dictionaries.kinds.archetypal",
    "BatchTopK": "cellglass.dictionaries.kinds.batchtopk",
    "BatchTopKConfig": "cellglass.dictionaries.kinds.batchtopk",
    "Codes": "cellglass.dictionaries.base",
    "Consensus": "cellglass.dictionaries.kinds.consensus",
    "ConsensusConfig": "cellglass.dictionaries.kinds.consensus",
    "CrossLayerConfig": "cellglass.dictionaries.kinds.crosslayer",
    "CrossLayerTranscoder": "cellglass.dictionaries.kinds.crosslayer",
    "Dictionary": "cellglass.dictionaries.base",
    "DictionaryKind": "cellglass.dictionaries.kind",
    "Gated": "cellglass.dictionaries.kinds.gated",
    "GatedConfig": "cellglass.dictionaries.kinds.gated",
    "JumpReLU": "cellglass.dictionaries.kinds.jumprelu",
    "JumpReLUConfig": "cellglass.dictionaries.kinds.jumprelu",
    "Matryoshka": "cellglass.dictionaries.kinds.matryoshka",
    "MatryoshkaBatchTopK": "cellglass.dictionaries.kinds.matryoshka_batchtopk",
    "MatryoshkaBatchTopKConfig": "cellglass.dictionaries.kinds.matryoshka_batchtopk",
    "MatryoshkaConfig": "cellglass.dictionaries.kinds.matryoshka",
    "TopK": "cellglass.dictionaries.kinds.topk",
    "TopKConfig": "cellglass.dictionaries.kinds.topk",
    "TrainConfig": "cellglass.dictionaries.training.config",
    "default_config": "cellglass.dictionaries.training.defaults",
    "default_training": "cellglass.dictionaries.training.defaults",
    "fit": "cellglass.dictionaries.fitting",
    "load": "cellglass.dictionaries.fitting",
    "train": "cellglass.dictionaries.training.train",
    "train_many": "cellglass.dictionaries.training.train",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)
