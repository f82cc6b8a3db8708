"""Exchange: dictionaries from and for SAELens, sparsify and circuit-tracer, in their own files."""

from cellglass.dictionaries.exchange.circuit_tracer import (
    cross_layer_thresholds,
    write_circuit_tracer,
    write_circuit_tracer_cross_layer,
)
from cellglass.dictionaries.exchange.saelens import read_saelens, write_saelens
from cellglass.dictionaries.exchange.sparsify import read_sparsify, write_sparsify

__all__ = [
    "cross_layer_thresholds",
    "read_saelens",
    "read_sparsify",
    "write_circuit_tracer",
    "write_circuit_tracer_cross_layer",
    "write_saelens",
    "write_sparsify",
]
