"""Gene rankings: folded tokens, gradients that add up, deletions as by hand; the question cannot be lost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from cellglass.circuits.answers import question, real_values
from cellglass.circuits.architectures import plan_of
from cellglass.circuits.genes import by_gene, integrated_gradients, occlusions, rank_genes
from cellglass.circuits.propagation import effects
from cellglass.errors import InputError
from circuits.models import TARGETS, asked_of, cells_of, model_of

KINDS = sorted(TARGETS)


def test_values_of_tokens_are_added_up_by_gene() -> None:
    found = by_gene(np.array([1.0, 2.0, 4.0, 8.0]), ["", "B", "A", "B"])
    pd.testing.assert_series_equal(found, pd.Series([10.0, 4.0], index=pd.Index(["B", "A"], dtype=object)),
                                   check_index_type=False)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_has_every_gene_that_is_read(kind: str) -> None:
    one = asked_of(kind)
    found = rank_genes(one)
    assert list(found.effects.columns) == ["total", "direct", "removal", "integrated", "occlusion", "deletion"]
    assert set(found.effects.index) == {gene for gene in one.question.genes if gene}
    assert found.effects.drop(columns=["removal", "deletion"]).notna().all(axis=None)
    without = found.effects["removal"].isna() & found.effects["deletion"].notna()
    assert list(found.effects.index[without]) == (one.question.genes[-1:] if kind == "gemma2" else [])  # asked there
    assert (np.diff(found.effects["total"].abs()) <= 0).all()
    assert found.answer == pytest.approx(float(one.answers.found[0]), rel=1e-3, abs=1e-4)
    agreement = found.agreement()
    assert agreement.loc["total", "total"] == pytest.approx(1)
    pd.testing.assert_frame_equal(agreement, agreement.T)


@pytest.mark.parametrize("kind", KINDS)
def test_total_effects_are_those_of_tokens(kind: str) -> None:
    one = asked_of(kind)
    table = rank_genes(one, columns=("total", "direct")).effects
    for column in table:
        parts = effects(one.frozen, one.replacement, one.answers.targets, total=column == "total").parts
        for gene in table.index:
            places = [i for i, name in enumerate(one.question.genes) if name == gene]
            expected = sum(
                float(part[i, 0]) for i in places for name, part in parts.items() if name not in one.frozen.constant
            )
            assert table.loc[gene, column] == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_integrated_gradients_add_up_and_more_steps_do_better(kind: str) -> None:
    one = asked_of(kind)
    values, gap = integrated_gradients(one.model, one.question, 400)
    assert abs(gap) < 0.01
    assert abs(gap) < abs(integrated_gradients(one.model, one.question, 2)[1]) + 1e-4
    others = [i for i, gene in enumerate(one.question.genes) if not gene]
    assert not values[others].any()
    assert np.abs(values).max() > 1e-4


def test_integrated_gradients_in_small_batches_are_the_same() -> None:
    one = asked_of("gpt_neox")
    whole, _ = integrated_gradients(one.model, one.question, 7)
    before = one.model.batch_tokens
    try:
        one.model.batch_tokens = 2 * one.frozen.n_tokens
        parts, _ = integrated_gradients(one.model, one.question, 7)
    finally:
        one.model.batch_tokens = before
    np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_occlusion_is_the_answer_with_the_mean_in_the_genes_place(kind: str) -> None:
    """Against the model's own layers, given changed states by a hook of the test's own."""
    one = asked_of(kind)
    found = occlusions(one.model, one.question)
    point = one.model.points["embed"]
    batch = one.question.tokens.padded(np.arange(1), one.model.pad_id, one.model.pad_value)
    genes = np.array(one.question.genes, dtype=object)
    (own,) = real_values(one.model, [one.question])
    last = plan_of(one.model.net).last
    seen = {}
    for gene in list(found.index)[:4]:

        def occlude(x: torch.Tensor, gene: str = gene) -> torch.Tensor:
            x = x.clone()
            x[0, genes == gene] = x[0, genes != ""].mean(0)
            return x

        target = one.model.net.get_submodule(point.module)
        if point.side == "in":
            handle = target.register_forward_pre_hook(lambda _m, a, f=occlude: (f(a[0]), *a[1:]))
        else:
            handle = target.register_forward_hook(lambda _m, _a, out, f=occlude: f(out))
        end = one.model.net.get_submodule(last.module).register_forward_hook(
            lambda _m, _a, out: seen.__setitem__("last", out[0] if isinstance(out, tuple) else out)
        )
        with torch.no_grad():
            one.model.forward(batch)
        handle.remove()
        end.remove()
        assert found[gene] == pytest.approx(own - float(one.question.read(seen["last"][0])), rel=1e-3, abs=1e-4)
    assert found.abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_deletion_is_the_answer_of_the_cell_without_the_gene(kind: str) -> None:
    one = asked_of(kind)
    table = rank_genes(one, columns=("deletion",)).effects
    (own,) = real_values(one.model, [one.question])
    for gene in table.index:
        cell = cells_of()[:1]
        counts = cell.counts.copy()
        counts[0, cell.symbols.tolist().index(gene)] = 0
        counts.eliminate_zeros()
        try:
            asked_again = question(one.model, one.model.align(cell.with_counts(counts)), *TARGETS[kind])
        except InputError:
            assert np.isnan(table.loc[gene, "deletion"])
            assert gene in TARGETS[kind][0]
            continue
        (without,) = real_values(one.model, [asked_again])
        assert table.loc[gene, "deletion"] == pytest.approx(own - without, rel=1e-3, abs=1e-4)
    assert table["deletion"].abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_model_answers_is_read_off_its_own_pass(kind: str) -> None:
    """Of several cells in one batch, against each alone and the model's own head."""
    model = model_of(kind)
    cells = model.align(cells_of())
    asks = [question(model, cells[[i]], *TARGETS[kind]) for i in range(4)]
    found = real_values(model, asks)
    np.testing.assert_allclose(found, [real_values(model, [one])[0] for one in asks], rtol=1e-3, atol=1e-4)
    assert len(set(np.round(found, 3))) > 1
    assert len(real_values(model, [])) == 0
    tokens = asks[0].tokens.padded(np.arange(1), model.pad_id, model.pad_value)
    with torch.no_grad():
        out = model.forward(tokens)
    if kind == "scgpt":
        place = asks[0].genes.index("CD79A")
        assert found[0] == pytest.approx(float(out.expression[0, place]), rel=1e-3, abs=1e-4)
    elif kind == "geneformer":
        place = int(np.flatnonzero(asks[0].tokens.ids == model.dictionaries.tokens["<mask>"])[0])
        both = model.head(out[0, place], [model.genes.get_loc("CD79A"), model.genes.get_loc("LYZ")])
        assert found[0] == pytest.approx(float(both[0] - both[1]), rel=1e-3, abs=1e-4)
    else:
        words = [" B cell.", " T cell."] if kind == "gpt_neox" else [" CD79A", " LYZ"]
        first, second = (model.writer.answer(word) for word in words)
        shared = next(i for i in range(99) if first[i] != second[i])
        ids = model.tokenise(cells[:1]).ids
        if kind == "gemma2":
            ids = model.writer.tokens(cells[:1], finished=False).ids
        ids = np.concatenate([ids, first[:shared]]).astype(np.int64)
        logits = model.logits(model.net.base_model(input_ids=torch.from_numpy(ids)[None]).last_hidden_state[0, -1])
        assert found[0] == pytest.approx(float(logits[first[shared]] - logits[second[shared]]), rel=0.02, abs=1e-3)


def test_wrong_questions_are_refused() -> None:
    one = asked_of("scgpt")
    with pytest.raises(InputError, match="not ranked by luck"):
        rank_genes(one, columns=("luck",))
    with pytest.raises(InputError, match="steps is 0"):
        rank_genes(one, steps=0)
    between = one.question.__class__(one.question.tokens, one.question.texts, one.question.genes, one.question.ask)
    with pytest.raises(InputError, match="about a state between layers"):
        real_values(one.model, [between])
    with pytest.raises(InputError, match="only cell2sentence has ties"):
        question(one.model, one.cell, *TARGETS["scgpt"], ties=np.arange(one.cell.counts.nnz))
