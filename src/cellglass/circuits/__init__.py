"""Circuits: which tokens, through which transcoder features, make an answer of a transformer, exactly."""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.circuits.answers import Question, frozen_cell, question
    from cellglass.circuits.architectures import Plan, freeze
    from cellglass.circuits.asked import Asked, ask
    from cellglass.circuits.build import Answers, build_graph, cost
    from cellglass.circuits.choice import ranked_units, strengths, units
    from cellglass.circuits.controls import control_scores, random_transcoders, rewired
    from cellglass.circuits.credit import live_strengths
    from cellglass.circuits.edges import check_edges
    from cellglass.circuits.editing import Filling, mean_activations
    from cellglass.circuits.effects import Effects, Targets, effects, feature_targets
    from cellglass.circuits.faithfulness import faithfulness_curve, mean_curve
    from cellglass.circuits.features import Replacement, replace_mlps
    from cellglass.circuits.genes import GeneRanking, rank_genes
    from cellglass.circuits.graph import Graph
    from cellglass.circuits.stability import stability_of

__all__ = [
    "Answers",
    "Asked",
    "Effects",
    "Filling",
    "GeneRanking",
    "Graph",
    "Plan",
    "Question",
    "Replacement",
    "Targets",
    "ask",
    "build_graph",
    "check_edges",
    "control_scores",
    "cost",
    "effects",
    "faithfulness_curve",
    "feature_targets",
    "freeze",
    "frozen_cell",
    "live_strengths",
    "mean_activations",
    "mean_curve",
    "question",
    "random_transcoders",
    "rank_genes",
    "ranked_units",
    "replace_mlps",
    "rewired",
    "stability_of",
    "strengths",
    "units",
]

_WHERE = {
    "Answers": "cellglass.circuits.build",
    "Asked": "cellglass.circuits.asked",
    "Effects": "cellglass.circuits.effects",
    "Filling": "cellglass.circuits.editing",
    "GeneRanking": "cellglass.circuits.genes",
    "Graph": "cellglass.circuits.graph",
    "Plan": "cellglass.circuits.architectures",
    "Question": "cellglass.circuits.answers",
    "Replacement": "cellglass.circuits.features",
    "Targets": "cellglass.circuits.effects",
    "ask": "cellglass.circuits.asked",
    "build_graph": "cellglass.circuits.build",
    "check_edges": "cellglass.circuits.edges",
    "control_scores": "cellglass.circuits.controls",
    "cost": "cellglass.circuits.build",
    "effects": "cellglass.circuits.effects",
    "faithfulness_curve": "cellglass.circuits.faithfulness",
    "feature_targets": "cellglass.circuits.effects",
    "freeze": "cellglass.circuits.architectures",
    "frozen_cell": "cellglass.circuits.answers",
    "live_strengths": "cellglass.circuits.credit",
    "mean_activations": "cellglass.circuits.editing",
    "mean_curve": "cellglass.circuits.faithfulness",
    "question": "cellglass.circuits.answers",
    "random_transcoders": "cellglass.circuits.controls",
    "rank_genes": "cellglass.circuits.genes",
    "ranked_units": "cellglass.circuits.choice",
    "replace_mlps": "cellglass.circuits.features",
    "rewired": "cellglass.circuits.controls",
    "stability_of": "cellglass.circuits.stability",
    "strengths": "cellglass.circuits.choice",
    "units": "cellglass.circuits.choice",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)
