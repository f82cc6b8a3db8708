"""Circuits: which tokens, through which transcoder features, make an answer of a transformer, exactly."""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.circuits.ablation import Ablation, ablate_group
    from cellglass.circuits.answers import Question, frozen_cell, question
    from cellglass.circuits.architectures import Plan
    from cellglass.circuits.asked import Asked, ask
    from cellglass.circuits.biology.coexpression import coexpression
    from cellglass.circuits.biology.edges import gene_edges, some_cells
    from cellglass.circuits.biology.knockouts import Knockouts, against_knockouts
    from cellglass.circuits.biology.match import Match, against_regulation
    from cellglass.circuits.biology.regulation import Regulation, bundled_regulation, read_regulation
    from cellglass.circuits.build import Answers, build_graph, cost
    from cellglass.circuits.choice import ranked_units, strengths, units
    from cellglass.circuits.classes.circuit import ClassCircuit
    from cellglass.circuits.classes.deletions import class_deletions
    from cellglass.circuits.classes.faithfulness import class_faithfulness
    from cellglass.circuits.classes.files import read_class, write_class
    from cellglass.circuits.classes.making import class_circuit
    from cellglass.circuits.controls import control_scores, random_transcoders, rewired
    from cellglass.circuits.credit import live_strengths
    from cellglass.circuits.deletion import Counterfactual, counterfactual, counterfactuals
    from cellglass.circuits.details import Example, feature_details, write_feature_details
    from cellglass.circuits.directions import Direction, read_vector
    from cellglass.circuits.draw import draw_graph
    from cellglass.circuits.edges import check_edges
    from cellglass.circuits.editing import Filling, mean_activations
    from cellglass.circuits.faithfulness import faithfulness_curve, mean_curve
    from cellglass.circuits.features import Replacement, replace_mlps
    from cellglass.circuits.freezing import freeze
    from cellglass.circuits.genes import GeneRanking, rank_genes
    from cellglass.circuits.graph import Graph
    from cellglass.circuits.groups import Group, find_groups, given_groups, group_edges, groups_of, with_groups
    from cellglass.circuits.head_nodes import HeadNodes
    from cellglass.circuits.head_parts import heads_of, looks_of, parts_by_head, split_edges
    from cellglass.circuits.heads import HeadEffects, carried, head_effects, head_targets
    from cellglass.circuits.json import read_graph, write_graph
    from cellglass.circuits.neuronpedia import write_neuronpedia
    from cellglass.circuits.pairs import PairSums, cell_pairs, feature_pairs
    from cellglass.circuits.paths import Path, path_lines, strongest_paths, total_effects
    from cellglass.circuits.propagation import Effects, Targets, effects, feature_targets
    from cellglass.circuits.pruning import prune
    from cellglass.circuits.qk import ScorePairs, score_pairs
    from cellglass.circuits.scaling import ScaleFeatures
    from cellglass.circuits.stability import stability_of
    from cellglass.circuits.tracing import cost_of, gene_table, trace, write_trace
    from cellglass.circuits.training import train_transcoders
    from cellglass.circuits.transcoders import Transcoders, load_transcoders
    from cellglass.circuits.trying import SetCount, Tried, TriedCells, try_changes, try_in_cells

__all__ = [
    "Ablation",
    "Answers",
    "Asked",
    "ClassCircuit",
    "Counterfactual",
    "Direction",
    "Effects",
    "Example",
    "Filling",
    "GeneRanking",
    "Graph",
    "Group",
    "HeadEffects",
    "HeadNodes",
    "Knockouts",
    "Match",
    "PairSums",
    "Path",
    "Plan",
    "Question",
    "Regulation",
    "Replacement",
    "ScaleFeatures",
    "ScorePairs",
    "SetCount",
    "Targets",
    "Transcoders",
    "Tried",
    "TriedCells",
    "ablate_group",
    "against_knockouts",
    "against_regulation",
    "ask",
    "build_graph",
    "bundled_regulation",
    "carried",
    "cell_pairs",
    "check_edges",
    "class_circuit",
    "class_deletions",
    "class_faithfulness",
    "coexpression",
    "control_scores",
    "cost",
    "cost_of",
    "counterfactual",
    "counterfactuals",
    "draw_graph",
    "effects",
    "faithfulness_curve",
    "feature_details",
    "feature_pairs",
    "feature_targets",
    "find_groups",
    "freeze",
    "frozen_cell",
    "gene_edges",
    "gene_table",
    "given_groups",
    "group_edges",
    "groups_of",
    "head_effects",
    "head_targets",
    "heads_of",
    "live_strengths",
    "load_transcoders",
    "looks_of",
    "mean_activations",
    "mean_curve",
    "parts_by_head",
    "path_lines",
    "prune",
    "question",
    "random_transcoders",
    "rank_genes",
    "ranked_units",
    "read_class",
    "read_graph",
    "read_regulation",
    "read_vector",
    "replace_mlps",
    "rewired",
    "score_pairs",
    "some_cells",
    "split_edges",
    "stability_of",
    "strengths",
    "strongest_paths",
    "total_effects",
    "trace",
    "train_transcoders",
    "try_changes",
    "try_in_cells",
    "units",
    "with_groups",
    "write_class",
    "write_feature_details",
    "write_graph",
    "write_neuronpedia",
    "write_trace",
]

_WHERE = {
    "Ablation": "cellglass.circuits.ablation",
    "Answers": "cellglass.circuits.build",
    "Asked": "cellglass.circuits.asked",
    "ClassCircuit": "cellglass.circuits.classes.circuit",
    "Counterfactual": "cellglass.circuits.deletion",
    "Direction": "cellglass.circuits.directions",
    "Effects": "cellglass.circuits.propagation",
    "Example": "cellglass.circuits.details",
    "Filling": "cellglass.circuits.editing",
    "GeneRanking": "cellglass.circuits.genes",
    "Graph": "cellglass.circuits.graph",
    "Group": "cellglass.circuits.groups",
    "HeadEffects": "cellglass.circuits.heads",
    "HeadNodes": "cellglass.circuits.head_nodes",
    "Knockouts": "cellglass.circuits.biology.knockouts",
    "Match": "cellglass.circuits.biology.match",
    "PairSums": "cellglass.circuits.pairs",
    "Path": "cellglass.circuits.paths",
    "Plan": "cellglass.circuits.architectures",
    "Question": "cellglass.circuits.answers",
    "Regulation": "cellglass.circuits.biology.regulation",
    "Replacement": "cellglass.circuits.features",
    "ScaleFeatures": "cellglass.circuits.scaling",
    "ScorePairs": "cellglass.circuits.qk",
    "SetCount": "cellglass.circuits.trying",
    "Targets": "cellglass.circuits.propagation",
    "Transcoders": "cellglass.circuits.transcoders",
    "Tried": "cellglass.circuits.trying",
    "TriedCells": "cellglass.circuits.trying",
    "ablate_group": "cellglass.circuits.ablation",
    "against_knockouts": "cellglass.circuits.biology.knockouts",
    "against_regulation": "cellglass.circuits.biology.match",
    "ask": "cellglass.circuits.asked",
    "build_graph": "cellglass.circuits.build",
    "bundled_regulation": "cellglass.circuits.biology.regulation",
    "carried": "cellglass.circuits.heads",
    "cell_pairs": "cellglass.circuits.pairs",
    "check_edges": "cellglass.circuits.edges",
    "class_circuit": "cellglass.circuits.classes.making",
    "class_deletions": "cellglass.circuits.classes.deletions",
    "class_faithfulness": "cellglass.circuits.classes.faithfulness",
    "coexpression": "cellglass.circuits.biology.coexpression",
    "control_scores": "cellglass.circuits.controls",
    "cost": "cellglass.circuits.build",
    "cost_of": "cellglass.circuits.tracing",
    "counterfactual": "cellglass.circuits.deletion",
    "counterfactuals": "cellglass.circuits.deletion",
    "draw_graph": "cellglass.circuits.draw",
    "effects": "cellglass.circuits.propagation",
    "faithfulness_curve": "cellglass.circuits.faithfulness",
    "feature_details": "cellglass.circuits.details",
    "feature_pairs": "cellglass.circuits.pairs",
    "feature_targets": "cellglass.circuits.propagation",
    "find_groups": "cellglass.circuits.groups",
    "freeze": "cellglass.circuits.freezing",
    "frozen_cell": "cellglass.circuits.answers",
    "gene_edges": "cellglass.circuits.biology.edges",
    "gene_table": "cellglass.circuits.tracing",
    "given_groups": "cellglass.circuits.groups",
    "group_edges": "cellglass.circuits.groups",
    "groups_of": "cellglass.circuits.groups",
    "head_effects": "cellglass.circuits.heads",
    "head_targets": "cellglass.circuits.heads",
    "heads_of": "cellglass.circuits.head_parts",
    "live_strengths": "cellglass.circuits.credit",
    "load_transcoders": "cellglass.circuits.transcoders",
    "looks_of": "cellglass.circuits.head_parts",
    "mean_activations": "cellglass.circuits.editing",
    "mean_curve": "cellglass.circuits.faithfulness",
    "parts_by_head": "cellglass.circuits.head_parts",
    "path_lines": "cellglass.circuits.paths",
    "prune": "cellglass.circuits.pruning",
    "question": "cellglass.circuits.answers",
    "random_transcoders": "cellglass.circuits.controls",
    "rank_genes": "cellglass.circuits.genes",
    "ranked_units": "cellglass.circuits.choice",
    "read_class": "cellglass.circuits.classes.files",
    "read_graph": "cellglass.circuits.json",
    "read_regulation": "cellglass.circuits.biology.regulation",
    "read_vector": "cellglass.circuits.directions",
    "replace_mlps": "cellglass.circuits.features",
    "rewired": "cellglass.circuits.controls",
    "score_pairs": "cellglass.circuits.qk",
    "some_cells": "cellglass.circuits.biology.edges",
    "split_edges": "cellglass.circuits.head_parts",
    "stability_of": "cellglass.circuits.stability",
    "strengths": "cellglass.circuits.choice",
    "strongest_paths": "cellglass.circuits.paths",
    "total_effects": "cellglass.circuits.paths",
    "trace": "cellglass.circuits.tracing",
    "train_transcoders": "cellglass.circuits.training",
    "try_changes": "cellglass.circuits.trying",
    "try_in_cells": "cellglass.circuits.trying",
    "units": "cellglass.circuits.choice",
    "with_groups": "cellglass.circuits.groups",
    "write_class": "cellglass.circuits.classes.files",
    "write_feature_details": "cellglass.circuits.details",
    "write_graph": "cellglass.circuits.json",
    "write_neuronpedia": "cellglass.circuits.neuronpedia",
    "write_trace": "cellglass.circuits.tracing",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)
