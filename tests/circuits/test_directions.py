"""Directions and concepts at sites: the answer is the model's own, its parts add up; what is not linear is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cellglass.circuits.answers import question, real_values
from cellglass.circuits.asked import Asked, ask
from cellglass.circuits.build import build_graph
from cellglass.circuits.credit import live_strengths
from cellglass.circuits.directions import Direction, placed, read_vector
from cellglass.circuits.genes import rank_genes
from cellglass.circuits.heads import head_effects
from cellglass.circuits.propagation import effects
from cellglass.dictionaries import TopK, TopKConfig
from cellglass.errors import InputError
from circuits.models import WIDTH, cells_of, model_of, transcoders_of

VECTOR = np.random.default_rng(0).normal(size=WIDTH)
STREAM = ("embed", "layers.0.resid", "layers.1.resid", "layers.0.mlp.in", "layers.1.mlp.in", "layers.0.mlp.out",
          "layers.1.mlp.out", "layers.0.attn.out", "layers.1.attn.out")  # fmt: skip
SITES = {
    "gpt_neox": (*STREAM, "final", "cell", "cell.last"),
    "gemma2": (*STREAM, "final", "cell"),
    "scgpt": (*STREAM, "cell.raw"),
    "geneformer": (*STREAM, "cell", "cell.last", "cls"),
}


def asked_at(kind: str, site: str, gene: str | None = "LYZ", against: Direction | None = None) -> Asked:
    target = Direction(site, VECTOR, 0.5, gene)
    return ask(model_of(kind), cells_of()[:1], transcoders_of(kind), target, against)


@pytest.mark.parametrize(("kind", "site"), [(kind, site) for kind, sites in SITES.items() for site in sites])
def test_an_answer_at_a_site_is_the_sites_own_and_its_parts_add_up(kind: str, site: str) -> None:
    model, asked = model_of(kind), asked_at(kind, site)
    cell = model.align(cells_of()[:1])
    if site in model.cell_sites:
        row = model.activations(cell, [site])[site][0]
    else:
        rows = model.token_activations(cell, [site])[site]
        (place,) = (
            np.flatnonzero([model.gene_table.symbol.iloc[g] == "LYZ" for g in rows.gene])
            if (kind in ("gpt_neox", "gemma2"))
            else np.flatnonzero(np.asarray(model.genes)[rows.gene] == "LYZ")
        )
        row = rows.values[int(place)]
    own = float(row.double() @ torch.from_numpy(VECTOR)) + 0.5
    near = {"rel": 1e-3, "abs": 1e-3}
    assert asked.answers.found[0] == pytest.approx(own, **near)
    assert real_values(model, [asked.question])[0] == pytest.approx(own, **near)
    for total in (False, True):
        found = effects(asked.frozen, asked.replacement, asked.answers.targets, total=total)
        assert float(found.sums(total=total)[0]) == pytest.approx(own, **near)


@pytest.mark.parametrize("site", ["layers.0.resid", "layers.0.mlp.out", "layers.1.mlp.in", "cell"])
def test_an_edge_is_what_doubling_its_source_changes(site: str) -> None:
    asked = asked_at("gpt_neox", site)
    frozen, made, targets = asked.frozen, asked.replacement, asked.answers.targets
    direct = effects(frozen, made, targets)
    features, written = made.features[0], made.written(frozen)
    for t, slot in [(0, 0), (asked.frozen.n_tokens - 1, 1)]:
        more = [w.clone() for w in written]
        more[0][t] += features.value[t, slot] * features.write[0][features.latent[t, slot]]
        change = targets.at(list(frozen.states(frozen.first, more))) - targets.at(
            list(frozen.states(frozen.first, written))
        )
        torch.testing.assert_close(direct.features[0][t, slot], change, rtol=1e-3, atol=1e-4)


def test_a_graph_of_a_direction_adds_up_and_its_genes_are_checked_in_the_real_model() -> None:
    asked = asked_at("gpt_neox", "layers.0.resid", gene=None)
    assert isinstance(asked.target, Direction)
    assert asked.target.gene is not None
    graph = build_graph(
        asked.frozen, asked.replacement, asked.answers, asked.question.texts, asked.question.genes, most=10
    )
    (answer,) = graph.of_kind("answer")
    assert graph.weights[answer].sum() == pytest.approx(asked.answers.found[0], rel=1e-3, abs=1e-3)
    ranking = rank_genes(asked)
    assert abs(ranking.gap) < 0.1
    assert np.isnan(ranking.effects["deletion"][asked.target.gene])
    assert ranking.effects["deletion"].notna().sum() > 4
    assert ranking.effects["occlusion"].abs().max() > 0
    assert np.abs(live_strengths(asked, steps=4)).max() > 0


def test_where_no_gene_is_named_it_is_asked_where_it_is_strongest() -> None:
    model, cell = model_of("scgpt"), model_of("scgpt").align(cells_of()[:1])
    found = placed(model, cell, Direction("layers.1.resid", VECTOR))
    rows = model.token_activations(cell, ["layers.1.resid"])["layers.1.resid"]
    best = int((rows.values.double() @ torch.from_numpy(VECTOR)).argmax())
    assert found.gene == str(model.genes[rows.gene[best]])
    one = Direction("cell.raw", VECTOR)
    assert placed(model, cell, one) is one


def test_two_directions_are_held_against_each_other() -> None:
    other = Direction("layers.0.resid", VECTOR[::-1].copy(), 2.0, "CD79A", "other")
    both = asked_at("geneformer", "layers.0.resid", against=other)
    alone = [asked_at("geneformer", "layers.0.resid"), ask(
        model_of("geneformer"), cells_of()[:1], transcoders_of("geneformer"), other
    )]  # fmt: skip
    assert both.answers.found[0] == pytest.approx(alone[0].answers.found[0] - alone[1].answers.found[0], abs=1e-4)
    assert both.answers.labels == ["direction at layers.0.resid of LYZ against other at layers.0.resid of CD79A"]


def test_a_latent_is_asked_by_its_pre_activation() -> None:
    model = model_of("scgpt")
    dictionary = TopK(TopKConfig(WIDTH, 8, 2))
    with torch.no_grad():
        dictionary.encoder.copy_(torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(0)))
        dictionary.encoder_bias.fill_(0.3)
        dictionary.centre.fill_(0.2)
    target = Direction.of_latent(dictionary.freeze(), 3, "cell.raw")
    asked = ask(model, cells_of()[:1], transcoders_of("scgpt"), target)
    x = model.activations(model.align(cells_of()[:1]), ["cell.raw"])["cell.raw"]
    assert asked.answers.found[0] == pytest.approx(float(dictionary.preactivations(x)[0, 3]), rel=1e-3, abs=1e-3)
    assert str(target) == "concept:3 at cell.raw"
    with pytest.raises(InputError, match="there is no latent 8; the dictionary has 0 to 7"):
        Direction.of_latent(dictionary, 8, "cell.raw")


def test_what_cannot_be_asked_is_one_line() -> None:
    for kind, target, message in [
        ("scgpt", Direction("cell", VECTOR), "cell of scgpt is no linear function of the stream"),
        ("scgpt", Direction("layers.0.attn.head.0", VECTOR[:8], gene="LYZ"), "what one head gives .* ask at attn.out"),
        ("scgpt", Direction("cell.raw", VECTOR[:5]), "direction has 5 numbers, but site cell.raw is 16 wide"),
        ("scgpt", Direction("layers.0.resid", VECTOR, gene="NONE"), "has no gene 'NONE'"),
        ("scgpt", Direction("layers.7.resid", VECTOR), "layers.7.resid"),
    ]:
        with pytest.raises(InputError, match=message):
            ask(model_of(kind), cells_of()[:1], transcoders_of(kind), target)
    with pytest.raises(InputError, match="two sorts of answers"):
        question(model_of("scgpt"), cells_of()[:1], "LYZ", Direction("cell.raw", VECTOR))
    with pytest.raises(InputError, match="two sites; name two directions at one site"):
        asked_at("gpt_neox", "cell", against=Direction("cell.last", VECTOR))
    with pytest.raises(InputError, match="not all 0"):
        Direction("cell", np.zeros(4))
    asked = asked_at("gpt_neox", "layers.0.mlp.out")
    with pytest.raises(InputError, match="heads are told of states of the stream; ask at resid"):
        head_effects(asked.frozen, asked.answers.targets)


def test_a_vector_is_read_from_numbers_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VECTOR)
    np.savetxt(tmp_path / "row.csv", VECTOR[None], delimiter=",")
    np.savetxt(tmp_path / "column.csv", VECTOR)
    for name in ("a.npy", "row.csv", "column.csv"):
        np.testing.assert_allclose(read_vector(tmp_path / name), VECTOR)
    np.save(tmp_path / "two.npy", np.ones((2, 2)))
    (tmp_path / "text.csv").write_text("a,b\n")
    for name, message in [("two.npy", r"shape \(2, 2\)"), ("text.csv", "no numbers"), ("x.txt", ".npy or a .csv"),
                          ("gone.npy", "no numbers")]:  # fmt: skip
        with pytest.raises(InputError, match=message):
            read_vector(tmp_path / name)
