"""Which neuron of the model answers most like each concept, and how strongly it answers in each cell.

A neuron is one axis of the site with a sign: how far the activation lies above its mean, or below it. Likeness is the
correlation over the cells of `Neighbours.sample`. The activations are those that the pipeline left in the atlas's
``work/``; where they are gone, there is nothing to compare with, and the file says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellglass.atlas.columns import Column
from cellglass.explorer.data.cached import cached
from cellglass.explorer.data.json import dumps, short
from cellglass.explorer.data.neighbours import Neighbours
from cellglass.explorer.data.responses import Responses
from cellglass.explorer.data.source import Source

Array = np.ndarray[Any, Any]

NEURONS = "neurons"
MOST_ALIKE = 3
"""Neurons that are named for a concept."""


class Neurons:
    """The neurons of the site, beside the concepts."""

    def __init__(self, source: Source, neighbours: Neighbours):
        self.source, self.neighbours = source, neighbours
        self.responses = Responses(source, NEURONS)

    @property
    def n(self) -> int:
        """How many there are, each sign by itself; 0 where the atlas cannot tell."""
        return int(self.responses.dictionary.n_latents) if self.responses.there else 0

    @cached
    def correlations(self) -> Array:
        """Return the correlation of each concept with each neuron, float64 (concepts, n); NaN where one is constant."""
        sample = self.neighbours.sample
        codes = self.neighbours.by_cell.astype(np.float64)
        products = np.zeros((codes.shape[1], self.n))
        total, square = np.zeros(self.n), np.zeros(self.n)
        for cells, values in self.responses.blocks(among=sample):
            answers = np.maximum(values, 0).astype(np.float64)
            products += codes[np.searchsorted(sample, cells)].T @ answers
            total += answers.sum(axis=0)
            square += (answers**2).sum(axis=0)
        n = max(len(sample), 1)
        spread = np.sqrt(np.maximum(square / n - (total / n) ** 2, 0))
        mean, own = self.neighbours.moments
        scale = own[:, None] * spread
        found = np.full(products.shape, np.nan)
        np.divide(products / n - mean[:, None] * total / n, scale, out=found, where=scale > 1e-12)
        return found

    @cached
    def alike(self) -> list[list[list[Any]]]:
        """Return, for each concept, [neuron, correlation] of the ones that are most like it, none below 0."""
        if not self.n:
            return []
        found = []
        for row in self.correlations:
            places = np.flatnonzero(row > 0)
            first = places[np.argsort(-row[places], kind="stable")[:MOST_ALIKE]]
            found.append([[int(place), short(row[place])] for place in first])
        return found

    @cached
    def shown(self) -> list[int]:
        """Return the neurons that are the most alike of some concept: those that an export holds."""
        return sorted({rows[0][0] for rows in self.alike if rows})

    def file(self) -> bytes:
        """Return ``neurons.json``: how many there are, and the most alike of each concept by latent number."""
        alike = {str(latent): rows for latent, rows in zip(self.source.latents, self.alike, strict=False) if rows}
        return dumps({"n": self.n, "axes": self.n // 2, "cells": self.neighbours.n_cells, "alike": alike})

    def column(self, number: int) -> Column:
        """Return the cells in which a neuron answers, and how strongly."""
        found = np.zeros(self.source.n_cells, dtype=np.float32)
        for cells, values in self.responses.blocks(np.array([number])):
            found[cells] = np.maximum(values[:, 0], 0)
        cells = np.flatnonzero(found)
        return Column(cells, found[cells])
