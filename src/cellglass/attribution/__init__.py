"""Concept -> genes: counterfactual swaps, knock-outs, path effects, and differential expression as the comparison."""

from cellglass.attribution.pairs import PairSettings
from cellglass.attribution.run import AttributionResult, attribute

__all__ = ["AttributionResult", "PairSettings", "attribute"]
