"""Two halves of a class: planted structure comes back and noise does not, each beside its null."""

from __future__ import annotations

import numpy as np

from cellglass.circuits.classes.merging import Key, Merged
from cellglass.circuits.classes.stability import halves
from cellglass.circuits.classes.tables import Part, choose

FEATURES, GENES = 40, 40
TENTH = {str(i) for i in range(1, GENES, 4)}


def drawn(seed: int, planted: bool) -> Merged:
    """A cell whose influences and weights are drawn; planted ones are large in the first ten of each kind."""
    rng = np.random.default_rng(seed)
    keys = [Key("answer"), *(Key("feature", i % 2, i) for i in range(FEATURES)), Key("rest"), Key("token"),
            *(Key("token", gene=f"G{i}") for i in range(GENES))]  # fmt: skip
    strong = np.array([planted and (key.number % 20 < 5 if key.kind == "feature" else key.gene[1:] in TENTH)
                       for key in keys])  # fmt: skip
    target = np.repeat(np.arange(1, FEATURES + 1), GENES)
    source = np.tile(np.arange(FEATURES + 3, FEATURES + 3 + GENES), FEATURES)
    sign = np.random.default_rng(9).choice([-1.0, 1.0], len(target))  # the same in all cells
    weight = rng.normal(size=len(target)) + 5 * sign * (strong[target] & strong[source])
    one = np.ones(len(keys))
    edges = target, source, weight.astype(np.float32), np.abs(weight).astype(np.float32), weight > 0
    return Merged(
        keys, one, rng.random(len(keys)) + strong, 0 * one, one > 0, *edges, np.empty((0, 2), dtype=np.int64), one[:0]
    )


def table_of(planted: bool):
    parts = [Part(f"{i}", 0, drawn(i, planted)) for i in range(8)]
    chosen = choose(lambda: parts, FEATURES, GENES)
    return halves(lambda: parts, [part.unit for part in parts], chosen, seed=1)


def test_what_is_planted_comes_back_and_noise_is_at_its_null() -> None:
    planted, noise = (table_of(one).set_index("of") for one in (True, False))
    assert (planted["mean"] > 0.6).all()
    assert (planted["null"] < 0.35).all()
    assert (noise.loc[["features", "genes", "edges"], "mean"] < 0.35).all()
    assert np.abs(noise["mean"] - noise["null"]).max() < 0.25
    assert planted.loc["features", "n"] == FEATURES // 4


def test_cells_of_another_label_share_what_is_of_no_class() -> None:
    parts = [Part(f"{i}", int(i >= 8), drawn(i, i < 8)) for i in range(16)]
    chosen = choose(lambda: parts, FEATURES, GENES)
    units = [part.unit for part in parts]
    table = halves(lambda: parts, units[:8], chosen, units[8:], seed=1).set_index("of")
    assert (table["mean"] > table["other"] + 0.3).all()
    alike = [part._replace(merged=drawn(int(part.unit), True)) for part in parts]
    table = halves(lambda: alike, units[:8], chosen, units[8:], seed=1).set_index("of")
    assert (table["other"] > 0.6).all()
    assert table_of(True)["other"].isna().all()


def test_the_same_seed_splits_alike_and_few_units_not_at_all() -> None:
    first, again = table_of(True), table_of(True)
    assert first.equals(again)
    parts = [Part(f"{i}", 0, drawn(i, True)) for i in range(3)]
    assert halves(lambda: parts, ["0", "1", "2"], choose(lambda: parts, 5, 5)) is None
