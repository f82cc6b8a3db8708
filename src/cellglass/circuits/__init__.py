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

__all__ = [
    "Answers",
    "Effects",
    "Graph",
    "Plan",
    "Question",
    "Replacement",
    "Targets",
    "build_graph",
    "cost",
    "effects",
    "feature_targets",
    "freeze",
    "frozen_cell",
    "question",
    "replace_mlps",
]

_WHERE = {
    "Answers": "cellglass.circuits.build",
    "Effects": "cellglass.circuits.effects",
    "Graph": "cellglass.circuits.graph",
    "Plan": "cellglass.circuits.architectures",
    "Question": "cellglass.circuits.answers",
    "Replacement": "cellglass.circuits.features",
    "Targets": "cellglass.circuits.effects",
    "build_graph": "cellglass.circuits.build",
    "cost": "cellglass.circuits.build",
    "effects": "cellglass.circuits.effects",
    "feature_targets": "cellglass.circuits.effects",
    "freeze": "cellglass.circuits.architectures",
    "frozen_cell": "cellglass.circuits.answers",
    "question": "cellglass.circuits.answers",
    "replace_mlps": "cellglass.circuits.features",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)
