"""Controls are as long in each cell as the edits, take other latents of like size, and differ from draw to draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellglass.interventions import Contrast, Subject, change, contrast_of, edit
from cellglass.interventions.contrast import lengths
from cellglass.interventions.controls import Way, other_latents, ways
from cellglass.vocabulary import STEERED


@pytest.fixture
def found(subject: Subject) -> Contrast:
    state = subject.cells.obs["state"].to_numpy()
    return contrast_of(subject.dictionary, subject.rows, np.flatnonzero(state == "off"), np.flatnonzero(state == "on"))


@pytest.fixture
def made(subject: Subject, found: Contrast) -> list[Way]:
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0][:2]
    return list(ways(subject.dictionary, found.edits([0, 4, 7]), found, axes, draws=3, seed=0))


def test_every_way_has_its_name_and_its_draws(made: list[Way]) -> None:
    assert set(STEERED) - {way.name for way in made} == {"expression"}
    assert [way.draw for way in made if way.name == "random"] == [0, 1, 2]
    assert len(made) == 4 + 2 * 3


@pytest.mark.parametrize("dose", [0.0, 0.5, 2.0])
def test_what_is_drawn_is_as_long_as_the_edits_in_each_cell(
    subject: Subject, found: Contrast, made: list[Way], dose: float
) -> None:
    x = subject.rows.read(np.arange(100))
    wanted = change(subject.dictionary, x, found.edits([0, 4, 7]), dose)
    steps = {(way.name, way.draw): way.move(x, dose) for way in made}
    assert torch.equal(steps["concepts", 0], wanted)
    assert not steps["none", 0].any()
    for draw in range(3):
        torch.testing.assert_close(steps["random", draw].norm(dim=1), wanted.norm(dim=1), rtol=1e-4, atol=1e-5)
        own = steps["random concepts", draw].norm(dim=1)
        moving = own > 0
        assert moving.float().mean() == (1 if dose else 0) or moving.any()
        torch.testing.assert_close(own[moving], wanted.norm(dim=1)[moving], rtol=1e-4, atol=1e-5)
    if dose:
        assert not torch.allclose(steps["random", 0], steps["random", 1])
    torch.testing.assert_close(steps["difference", 0][7], torch.from_numpy(dose * found.difference).float())


def test_the_pca_step_lies_in_the_components_and_leaves_nothing_of_them(found: Contrast, made: list[Way]) -> None:
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0][:2]
    step = next(way for way in made if way.name == "pca").move(torch.zeros(1, 6), 1.0)[0].double().numpy()
    np.testing.assert_allclose(step, axes.T @ (axes @ step), atol=1e-6)
    np.testing.assert_allclose(axes @ step, axes @ found.difference, atol=1e-6)


def test_other_latents_are_others_each_once_and_of_like_size(subject: Subject) -> None:
    """Among 12 latents of two sizes, each gives its place to one of its own size where there are enough of them."""
    dictionary = subject.dictionary
    size = np.where(np.arange(dictionary.n_latents) % 2 == 0, 1.0, 50.0)
    edits = [edit("add", [0, 2], [1.0, -2.0]), edit("set", [1], 3.0)]
    sets = set()
    for draw in range(40):
        others = other_latents(dictionary, edits, size, np.random.default_rng(draw))
        chosen = [latent for one in others for latent in one.latents]
        assert len(set(chosen)) == 3
        assert all(a != b for a, b in zip(chosen, [0, 2, 1], strict=True))
        assert [one.how for one in others] == ["add", "set"]
        moved = np.abs(np.concatenate([np.array(one.amounts) for one in others])) * lengths(dictionary)[chosen]
        np.testing.assert_allclose(moved, [1, 2, 3] * lengths(dictionary)[[0, 2, 1]], rtol=1e-5)
        sets.add(tuple(chosen))
    assert len(sets) > 20


def test_like_size_is_the_nearest_ten(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellglass.interventions.controls.NEAR", 2)
    size = np.arange(1.0, 1 + subject.dictionary.n_latents)
    drawn = {
        other_latents(subject.dictionary, [edit("ablate", [5])], size, np.random.default_rng(i))[0].latents[0]
        for i in range(30)
    }
    assert drawn == {4, 6}
