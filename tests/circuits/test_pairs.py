"""Pairs of features against plain loops over both."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass.circuits.features import replace_mlps
from cellglass.circuits.freezing import freeze
from cellglass.circuits.pairs import PairSums, cell_pairs, feature_pairs
from circuits.networks import LATENTS, LAYERS, NETS, TOKENS, drawn, frozen, ids_of, ran, transcoders
from circuits.test_features import crosslayer


def through(norm, x, scale):
    """Return `x` behind a norm without its bias."""
    if norm is None:
        return x
    if norm.centred:
        x = x - x.mean()
    return x * norm.weight * scale(norm)


def written(made, source: int, to: int, x, scale):
    """Return what `x`, written by the MLP of a layer, is where a later one reads; None if it does not come there."""
    if source >= to:
        return None
    for step in made.steps[made.step_of(source) + 1 : made.reads(to)]:
        if hasattr(step, "norm"):
            x = through(step.norm, x, scale)
    return through(made.mlp(to).before, x, scale)


def as_dict(table, column: str) -> dict[tuple[int, ...], float]:
    names = table[["layer", "feature", "to_layer", "to_feature"]].to_numpy().tolist()
    return {tuple(name): value for name, value in zip(names, table[column], strict=True)}


@pytest.mark.parametrize("name", sorted(NETS))
def test_pairs_of_the_model_are_their_formula(name: str) -> None:
    made = frozen(name)
    replacement = replace_mlps(made, transcoders(made))
    whole = as_dict(feature_pairs(made, replacement, most=10**6, block=13), "weight")
    assert len(whole) == LATENTS**2 * LAYERS * (LAYERS - 1) // 2
    assert all(layer < to for layer, _, to, _ in whole)
    rng = np.random.default_rng(0)
    for source, to in [(0, 1), (0, 2), (1, 2)]:
        for i, j in rng.integers(LATENTS, size=(10, 2)).tolist():
            row = replacement.features[source].write[source][i]
            expected = written(made, source, to, row, lambda _: 1.0) @ replacement.features[to].read[j]
            assert whole[source, i, to, j] == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


def test_the_largest_are_kept_whatever_the_blocks_are() -> None:
    made = frozen("gpt_neox, sequential")
    replacement = replace_mlps(made, transcoders(made))
    whole = feature_pairs(made, replacement, most=10**6)
    assert whole["weight"].abs().is_monotonic_decreasing
    for block in (7, 1024):
        some = feature_pairs(made, replacement, most=50, block=block)
        assert as_dict(some, "weight") == pytest.approx(as_dict(whole.head(50), "weight"))


def test_pairs_of_the_model_are_the_same_for_all_cells() -> None:
    a, b = frozen("bert", seed=1), frozen("bert", seed=2)
    own = transcoders(a)
    found = [feature_pairs(one, replace_mlps(one, own), most=100) for one in (a, b)]
    assert as_dict(found[0], "weight") == as_dict(found[1], "weight")


def by_loop(made, replacement) -> dict[tuple[int, ...], list[float]]:
    """Return, of each pair that is active together, its effects at the tokens where it is."""
    found: dict[tuple[int, ...], list[float]] = {}
    for t in range(TOKENS):
        for source, to in [(0, 1), (0, 2), (1, 2)]:
            a, b = replacement.features[source], replacement.features[to]
            for i in torch.nonzero(a.value[t] > 0)[:, 0]:
                row = torch.zeros_like(made.final[0])
                for at, rows in a.write.items():
                    if at < to:
                        x = rows[a.latent[t, i]]
                        row = row + written(made, at, to, x, lambda norm, t=t: norm.scale[t, 0])
                for j in torch.nonzero(b.value[t] > 0)[:, 0]:
                    effect = float(a.value[t, i] * (row @ b.read[b.latent[t, j]]))
                    found.setdefault((source, int(a.latent[t, i]), to, int(b.latent[t, j])), []).append(effect)
    return found


@pytest.mark.parametrize("name", ["gpt_neox", "gpt_neox, sequential", "gpt2", "gemma2", "scgpt"])
def test_pairs_of_a_cell_are_their_formula(name: str) -> None:
    made = frozen(name)
    replacement = replace_mlps(made, transcoders(made))
    expected = by_loop(made, replacement)
    table = cell_pairs(made, replacement, most=None)
    assert as_dict(table, "effect") == pytest.approx({pair: sum(values) for pair, values in expected.items()})
    assert as_dict(table, "tokens") == {pair: len(values) for pair, values in expected.items()}
    assert cell_pairs(made, replacement, most=9).equals(table.head(9))


def test_what_a_cross_layer_feature_writes_before_the_reader_is_added_up() -> None:
    made = frozen("gpt_neox, sequential")
    replacement = replace_mlps(made, crosslayer(made))
    expected = {pair: sum(values) for pair, values in by_loop(made, replacement).items()}
    assert as_dict(cell_pairs(made, replacement, most=None), "effect") == pytest.approx(expected)
    whole = as_dict(feature_pairs(made, replacement, most=10**6), "weight")
    rows = replacement.features[0].write
    to = replacement.features[2].read[5]
    both = sum(written(made, at, 2, rows[at][3], lambda _: 1.0) for at in (0, 1))
    assert whole[0, 3, 2, 5] == pytest.approx(float(both @ to))


def test_averages_over_cells_are_those_of_each() -> None:
    cells = [frozen("gpt_neox, sequential", seed=seed) for seed in (1, 2, 3)]
    own, sums = transcoders(cells[0]), PairSums()
    tables = []
    for made in cells:
        replacement = replace_mlps(made, own)
        sums.add(made, replacement)
        tables.append(as_dict(cell_pairs(made, replacement, most=None), "effect"))
    pairs = set().union(*tables)
    values = {pair: np.array([table.get(pair, 0.0) for table in tables]) for pair in pairs}
    found = sums.table(most=None)
    assert sums.n_cells == 3
    assert as_dict(found, "mean") == pytest.approx({pair: v.mean() for pair, v in values.items()}, abs=1e-9)
    assert as_dict(found, "sd") == pytest.approx({pair: v.std() for pair, v in values.items()}, abs=1e-6)
    assert as_dict(found, "cells") == {pair: int((v != 0).sum()) for pair, v in values.items()}
    assert found["cells"].max() > 1
    assert found["mean"].abs().is_monotonic_decreasing


def test_gpt2_gives_dunefskys_formula_from_its_own_weights() -> None:
    """Plain loops: what a feature writes, through the reader's own norm in transformers' GPT-2, on what it reads."""
    net = drawn("gpt2")
    made = freeze(net, ran(net))
    replacement = replace_mlps(made, transcoders(made))
    norms, seen = [block.ln_2 for block in net.transformer.h], []
    hooks = [one.register_forward_pre_hook(lambda _m, args: seen.append(args[0][0])) for one in norms]
    net(input_ids=ids_of())
    for hook in hooks:
        hook.remove()
    expected: dict[tuple[int, ...], float] = {}
    weights = as_dict(feature_pairs(made, replacement, most=10**6), "weight")
    for source, to in [(0, 1), (0, 2), (1, 2)]:
        a, b = replacement.features[source], replacement.features[to]
        for t in range(TOKENS):
            sigma = (seen[to][t].var(unbiased=False) + norms[to].eps).sqrt()
            for i in torch.nonzero(a.value[t] > 0)[:, 0]:
                row = a.write[source][a.latent[t, i]]
                for j in torch.nonzero(b.value[t] > 0)[:, 0]:
                    pair = source, int(a.latent[t, i]), to, int(b.latent[t, j])
                    read = (row - row.mean()) * norms[to].weight @ b.read[b.latent[t, j]]
                    assert weights[pair] == pytest.approx(float(read), rel=1e-9, abs=1e-12)
                    expected[pair] = expected.get(pair, 0.0) + float(a.value[t, i] / sigma * read)
    assert as_dict(cell_pairs(made, replacement, most=None), "effect") == pytest.approx(expected)
