"""Circuits: which tokens, through which transcoder features, make an answer of a transformer, exactly."""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.circuits.answers import Question, frozen_cell, question
    from cellglass.circuits.architectures import Plan, freeze
    from cellglass.circuits.build import Answers, build_graph, cost
    from cellglass.circuits.effects import Effects, Targets, effects, feature_targets
    from cellglass.circuits.features import Replacement, replace_mlps
    from cellglass.circuits.graph import Graph
    from cellglass.circuits.heads import HeadEffects, carried, head_effects, head_targets
    from cellglass.circuits.pairs import PairSums, cell_pairs, feature_pairs
    from cellglass.circuits.qk import ScorePairs, score_pairs

__all__ = [
    "Answers",
    "Effects",
    "Graph",
    "HeadEffects",
    "PairSums",
    "Plan",
    "Question",
    "Replacement",
    "ScorePairs",
    "Targets",
    "build_graph",
    "carried",
    "cell_pairs",
    "cost",
    "effects",
    "feature_pairs",
    "feature_targets",
    "freeze",
    "frozen_cell",
    "head_effects",
    "head_targets",
    "question",
    "replace_mlps",
    "score_pairs",
]

_WHERE = {
    "Answers": "cellglass.circuits.build",
    "Effects": "cellglass.circuits.effects",
    "Graph": "cellglass.circuits.graph",
    "HeadEffects": "cellglass.circuits.heads",
    "PairSums": "cellglass.circuits.pairs",
    "Plan": "cellglass.circuits.architectures",
    "Question": "cellglass.circuits.answers",
    "Replacement": "cellglass.circuits.features",
    "ScorePairs": "cellglass.circuits.qk",
    "Targets": "cellglass.circuits.effects",
    "build_graph": "cellglass.circuits.build",
    "carried": "cellglass.circuits.heads",
    "cell_pairs": "cellglass.circuits.pairs",
    "cost": "cellglass.circuits.build",
    "effects": "cellglass.circuits.effects",
    "feature_pairs": "cellglass.circuits.pairs",
    "feature_targets": "cellglass.circuits.effects",
    "freeze": "cellglass.circuits.architectures",
    "frozen_cell": "cellglass.circuits.answers",
    "head_effects": "cellglass.circuits.heads",
    "head_targets": "cellglass.circuits.heads",
    "question": "cellglass.circuits.answers",
    "replace_mlps": "cellglass.circuits.features",
    "score_pairs": "cellglass.circuits.qk",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)
