"""Every record is there with its spread and null, and says of planted concepts what is true."""

import numpy as np
import pandas as pd
import pytest
import torch

from cellglass.errors import InputError
from cellglass.evaluation import evaluate
from cellglass.evaluation.fidelity import fidelity


def _planted(n=800, d=12, n_types=4, seed=0):
    """Activations = a direction of the cell's type, a shared direction, and noise."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    code = rng.integers(0, n_types, n)
    x = basis[code] * (3 + rng.random((n, 1))) + basis[n_types] * rng.random((n, 1)) + 0.05 * rng.normal(size=(n, d))
    labels = pd.DataFrame({"type": [f"T{i}" for i in code], "constant": "same", "donor": rng.choice(["d1", "d2"], n)})
    return torch.as_tensor(x, dtype=torch.float32), labels, basis


def _dictionaries(linear, basis, d=12):
    rng = np.random.default_rng(5)

    def random():
        directions = rng.normal(size=(10, d))
        return linear(directions / np.linalg.norm(directions, axis=1, keepdims=True), k=2)

    concepts = [linear(np.vstack([basis[order], -basis[:2]]), k=2) for order in map(rng.permutation, [d] * 3)]
    return {
        "concepts": concepts,
        "neurons": [linear(np.vstack([np.eye(d), -np.eye(d)]))],
        "random": [random() for _ in range(3)],
    }


@pytest.fixture(scope="module")
def result(linear):
    x, labels, basis = _planted()
    seen = []
    bases = _dictionaries(linear, basis)
    metrics = evaluate(
        bases,
        x,
        control=bases["random"],
        labels=labels,
        heldout=np.arange(0, 800, 10),
        seed=1,
        progress=lambda *a: seen.append(a),
    )
    return {m.metric: m for m in metrics}, metrics, seen


def test_names(result):
    metrics, as_list, seen = result
    expected = ["fidelity.variance_explained", "fidelity.l0", "fidelity.dead_share"]
    expected += [f"probe.{label}.{of}" for label in ("type", "donor") for of in ("concepts", "site")]
    for basis in ("concepts", "neurons", "random"):
        expected += [f"alignment.type.T{i}.{basis}" for i in range(4)]
        expected += [f"alignment.donor.d{i}.{basis}" for i in (1, 2)]
    agreement = ["", ".max_cosine", ".above_0.7", ".above_0.9", ".consensus"]
    agreement += [f".coactivation{name}" for name in ("", ".max", ".above_0.7", ".above_0.9")]
    expected += [f"stability.{basis}{name}" for basis in ("concepts", "random") for name in agreement]
    assert sorted(metrics) == sorted(expected)
    assert len(as_list) == len(metrics)
    assert [call[1] for call in seen] == list(range(1, 10))
    assert all(m.spread is not None and m.null is not None and m.n > 0 and m.definition for m in as_list)


def test_values_say_what_was_planted(result):
    metrics, _, _ = result
    assert metrics["fidelity.variance_explained"].value > 0.95 > metrics["fidelity.variance_explained"].null
    assert metrics["fidelity.variance_explained"].n == 80
    assert metrics["probe.type.concepts"].value > 0.99
    assert metrics["probe.type.site"].value > 0.99
    assert abs(metrics["probe.donor.concepts"].value - metrics["probe.donor.concepts"].null) < 0.15
    for i in range(4):
        assert metrics[f"alignment.type.T{i}.concepts"].value > 0.98
        assert metrics[f"alignment.type.T{i}.concepts"].null < 0.5
    assert metrics["stability.concepts"].value == pytest.approx(1)
    assert metrics["stability.random"].value == pytest.approx(metrics["stability.random"].null, abs=0.1)
    assert metrics["stability.random"].null < 0.6
    for name in ("coactivation", "coactivation.above_0.9", "consensus"):
        assert metrics[f"stability.concepts.{name}"].value == pytest.approx(1)
        assert metrics[f"stability.concepts.{name}"].null < 0.2
    assert metrics["stability.random.coactivation"].value < 0.8


def test_each_seed_draws_its_own_halves_and_splits(linear):
    """Dictionaries that are the same: what differs between seeds is which cells choose and which score."""
    rng = np.random.default_rng(2)
    code = rng.integers(0, 3, 300)
    x = torch.as_tensor(np.eye(6)[code] + 0.8 * rng.normal(size=(300, 6)), dtype=torch.float32)
    labels = pd.DataFrame({"type": [f"T{i}" for i in code]})
    one = linear(np.eye(6))
    bases = {"concepts": [one] * 4, "neurons": [one], "pca": [one] * 4}
    seeds = {m.metric: m for m in evaluate(bases, x, labels=labels, heldout=np.arange(30), seed=1)}
    assert seeds["fidelity.variance_explained"].spread == pytest.approx(0, abs=1e-6)
    for name in ("probe.type.concepts", "probe.type.site"):
        assert 0.005 < seeds[name].spread < 0.2
    for basis in bases:
        assert all(0.002 < seeds[f"alignment.type.T{i}.{basis}"].spread < 0.2 for i in range(3))
    of_basis = [[seeds[f"alignment.type.T{i}.{basis}"].value for i in range(3)] for basis in bases]
    assert of_basis[0] == of_basis[1] == of_basis[2]  # of one seed, every basis is held against the same cells


def test_a_basis_that_answers_everywhere_is_compared_in_fewer_cells(linear, monkeypatch):
    x, labels, basis = _planted()
    bases = {"concepts": _dictionaries(linear, basis)["concepts"]}
    told = {"labels": labels[[]], "heldout": np.arange(20), "seed": 1}
    whole = {m.metric: m for m in evaluate(bases, x, **told)}
    monkeypatch.setattr("cellglass.evaluation.run.MAX_ENTRIES", 100)
    few = {m.metric: m for m in evaluate(bases, x, **told)}
    assert few["stability.concepts.coactivation"].value == pytest.approx(1)
    # the best correlation by chance grows as cells get fewer
    assert few["stability.concepts.coactivation.max"].null > 1.5 * whole["stability.concepts.coactivation.max"].null
    assert few["fidelity.l0"] == whole["fidelity.l0"]


def test_the_value_is_that_of_the_first_dictionary_on_held_out_cells(result, linear):
    x, _, basis = _planted()
    first = _dictionaries(linear, basis)["concepts"][0]
    assert result[0]["fidelity.l0"].value == fidelity(first, [x[::10]]).l0


def test_a_reader_gives_what_a_tensor_gives(result, linear):
    x, labels, basis = _planted()
    asked = []

    def read(rows):
        asked.append(len(rows))
        return x[rows]

    bases = _dictionaries(linear, basis)
    heldout = np.arange(0, 800, 10)
    metrics = evaluate(bases, read, 800, labels=labels, heldout=heldout, seed=1, control=bases["random"])
    assert metrics == result[1]
    assert max(asked) <= 1024


def test_without_labels_only_fidelity_and_stability_are_left(linear):
    x, labels, basis = _planted()
    metrics = evaluate(
        {"concepts": _dictionaries(linear, basis)["concepts"][:1]}, x, labels=labels[[]], heldout=[1, 2, 3], seed=1
    )
    assert [m.metric for m in metrics] == ["fidelity.variance_explained", "fidelity.l0", "fidelity.dead_share"]
    assert all(m.spread is None and m.null is None for m in metrics)


def test_wrong_use_is_refused(linear):
    x, labels, basis = _planted()
    concepts = _dictionaries(linear, basis)["concepts"]
    with pytest.raises(InputError, match="'concepts'"):
        evaluate({"pca": concepts}, x, labels=labels, heldout=[1], seed=0)
    with pytest.raises(InputError, match="at least one dictionary"):
        evaluate({"concepts": concepts, "pca": []}, x, labels=labels, heldout=[1], seed=0)
    with pytest.raises(InputError, match="800 cells and labels of 799"):
        evaluate({"concepts": concepts}, x, labels=labels[:-1], heldout=[1], seed=0)
