"""Circuits: which tokens, through which transcoder features, make an answer of a transformer, exactly."""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.circuits.answers import Question, frozen_cell, question
    from cellglass.circuits.architectures import Plan, freeze
    from cellglass.circuits.build import Answers, build_graph, cost
    from cellglass.circuits.details import Example, feature_details, write_feature_details
    from cellglass.circuits.draw import draw_graph
    from cellglass.circuits.effects import Effects, Targets, effects, feature_targets
    from cellglass.circuits.features import Replacement, replace_mlps
    from cellglass.circuits.graph import Graph
    from cellglass.circuits.json import read_graph, write_graph
    from cellglass.circuits.neuronpedia import write_neuronpedia
    from cellglass.circuits.paths import Path, path_lines, strongest_paths, total_effects
    from cellglass.circuits.pruning import prune

__all__ = [
    "Answers",
    "Effects",
    "Example",
    "Graph",
    "Path",
    "Plan",
    "Question",
    "Replacement",
    "Targets",
    "build_graph",
    "cost",
    "draw_graph",
    "effects",
    "feature_details",
    "feature_targets",
    "freeze",
    "frozen_cell",
    "path_lines",
    "prune",
    "question",
    "read_graph",
    "replace_mlps",
    "strongest_paths",
    "total_effects",
    "write_feature_details",
    "write_graph",
    "write_neuronpedia",
]

_WHERE = {
    "Answers": "cellglass.circuits.build",
    "Effects": "cellglass.circuits.effects",
    "Example": "cellglass.circuits.details",
    "Graph": "cellglass.circuits.graph",
    "Path": "cellglass.circuits.paths",
    "Plan": "cellglass.circuits.architectures",
    "Question": "cellglass.circuits.answers",
    "Replacement": "cellglass.circuits.features",
    "Targets": "cellglass.circuits.effects",
    "build_graph": "cellglass.circuits.build",
    "cost": "cellglass.circuits.build",
    "draw_graph": "cellglass.circuits.draw",
    "effects": "cellglass.circuits.effects",
    "feature_details": "cellglass.circuits.details",
    "feature_targets": "cellglass.circuits.effects",
    "freeze": "cellglass.circuits.architectures",
    "frozen_cell": "cellglass.circuits.answers",
    "path_lines": "cellglass.circuits.paths",
    "prune": "cellglass.circuits.pruning",
    "question": "cellglass.circuits.answers",
    "read_graph": "cellglass.circuits.json",
    "replace_mlps": "cellglass.circuits.features",
    "strongest_paths": "cellglass.circuits.paths",
    "total_effects": "cellglass.circuits.paths",
    "write_feature_details": "cellglass.circuits.details",
    "write_graph": "cellglass.circuits.json",
    "write_neuronpedia": "cellglass.circuits.neuronpedia",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)
