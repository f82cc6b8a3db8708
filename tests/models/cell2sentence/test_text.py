"""Cells as text: against plain loops over genes and characters, with tokenizers like GPT-NeoX's and like Gemma's."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.cell2sentence.text import PROMPTS, SentenceSettings, Writer, ranked, tie_order, words_of

# Names that contain each other, name parts of several kinds, and characters of more than one byte.
NAMES = [
    "CD3", "CD3D", "CD3E", "MT-CO1", "HLA-DRA", "HLA-DRB1", "RP11-620J15.3", "RP11-620J15", "C1orf43", "NKG7", "CD8A",
    "A", "AB", "B", "S100A8", "S100A9", "µTAG1", "B2M", "Y_RNA", "7SK", "IGHV3-7", "MT-CO2", "LST1", "FTL",
]  # fmt: skip
WORDS = [name.upper() for name in NAMES]


def cells_of(n: int = 30, seed: int = 0) -> Cells:
    """Cells with many ties, of very different lengths; cell 2 has no counts, cell 3 one gene."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.uniform(0.1, 2.0, (n, 1)), (n, len(NAMES))).astype(np.float32)
    counts[2:4] = 0
    counts[3, 6] = 4
    genes = pd.DataFrame({"symbol": NAMES}, index=pd.Index([f"id{i}" for i in range(len(NAMES))], dtype=object))
    obs = pd.DataFrame({"type": [f"type {i % 3}" for i in range(n)]}, index=[f"c{i}" for i in range(n)])
    return Cells(sp.csr_matrix(counts), genes, obs)


def texts_to_learn(repeat: int = 3) -> list[str]:
    rng = np.random.default_rng(5)
    sentences = [" " + " ".join(rng.permutation(WORDS)) for _ in range(repeat)]
    return sentences + [part for prompt in PROMPTS.values() for part in prompt]


def neox_like() -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts_to_learn(), trainer)
    return tokenizer


def gemma_like(*, crossing: bool = False) -> Any:
    """Spaces become signs, nothing is split, texts begin with <bos>; `crossing` learns tokens across names."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))  # noqa: S106
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    if not crossing:
        tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Replace("▁", " ")
    trainer = trainers.BpeTrainer(
        vocab_size=280 if crossing else 130, special_tokens=["<unk>", "<pad>", "<eos>", "<bos>"], show_progress=False
    )
    tokenizer.train_from_iterator(texts_to_learn(), trainer)
    tokenizer.pre_tokenizer = None
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))]
    )
    return tokenizer


TOKENIZERS = {"neox": neox_like, "gemma": gemma_like, "crossing": lambda: gemma_like(crossing=True)}


def begin_of(tokenizer: Any) -> int:
    found = tokenizer.token_to_id("<bos>")
    return 0 if found is None else found


@pytest.fixture(params=list(TOKENIZERS))
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return TOKENIZERS[request.param]()


def writer_of(tokenizer: Any, context: int = 4000, **settings: Any) -> Writer:
    return Writer(tokenizer, WORDS, SentenceSettings(**settings), begin_of(tokenizer), context)


# -- the slow reference ------------------------------------------------------------------------------------------------


def slow_genes(values: np.ndarray, most: int) -> list[int]:
    """A cell's genes by falling value; of equal ones the name with the smaller sha256 comes first."""
    keys = []
    for gene, value in enumerate(values):
        if value > 0:
            keys.append((-value, hashlib.sha256(WORDS[gene].encode()).digest(), gene))
    return [gene for _, _, gene in sorted(keys)][:most]


def slow_tokens(
    tokenizer: Any, genes: list[int], before: str, behind: str, begin: int | None
) -> tuple[list[int], list[int]]:
    """Token ids and genes of one cell: each character knows its gene, a token takes that of its last such character."""
    text, owner = before, [-1] * len(before)
    for gene in genes:
        text += " " + WORDS[gene]
        owner += [-1] + [gene] * len(WORDS[gene])
    text += behind
    owner += [-1] * len(behind)
    found = tokenizer.encode(text)
    ids, of = list(found.ids), []
    for first, last in found.offsets:
        gene = -1
        for place in range(first, last):
            if owner[place] >= 0:
                gene = owner[place]
        of.append(gene)
    if begin is not None and ids[:1] != [begin]:
        ids, of = [begin, *ids], [-1, *of]
    return ids, of


@pytest.mark.parametrize("prompt", ["cell_type", "generation", "none"])
@pytest.mark.parametrize("n_genes", [5, 200])
def test_tokens_are_those_of_plain_loops(tokenizer, prompt, n_genes):
    cells = cells_of()
    label = "type" if prompt == "generation" else None
    found = writer_of(tokenizer, prompt=prompt, n_genes=n_genes, label=label).tokens(cells)
    assert len(found) == cells.n_cells
    for i in range(cells.n_cells):
        before, behind = PROMPTS[prompt]
        before = before.format(n_genes=n_genes, organism="Homo sapiens", cell_type=cells.obs["type"].iloc[i])
        genes = slow_genes(cells.counts[i].toarray()[0], n_genes)
        begin = begin_of(tokenizer) if prompt == "none" else None
        ids, of = slow_tokens(tokenizer, genes, before, behind, begin)
        part = slice(found.start[i], found.start[i + 1])
        assert found.ids[part].tolist() == ids
        assert found.gene[part].tolist() == of


@pytest.mark.parametrize("name", ["neox", "gemma"])
def test_the_tokens_of_a_gene_spell_its_name(name):
    tokenizer, cells = TOKENIZERS[name](), cells_of()
    found = writer_of(tokenizer).tokens(cells)
    several = 0
    for i in range(cells.n_cells):
        part = slice(found.start[i], found.start[i + 1])
        ids, of = found.ids[part], found.gene[part]
        genes = slow_genes(cells.counts[i].toarray()[0], 200)
        assert list(dict.fromkeys(of[of >= 0].tolist())) == genes
        for gene in genes:
            assert tokenizer.decode(ids[of == gene].tolist()).strip() == WORDS[gene]
            several += int((of == gene).sum() > 1)
    assert several > 50


def test_the_prompt_is_the_published_one():
    cells = cells_of()[:1]
    tokenizer = neox_like()
    text = tokenizer.decode(writer_of(tokenizer, n_genes=3).tokens(cells).ids.tolist())
    names = " ".join(WORDS[gene] for gene in slow_genes(cells.counts[0].toarray()[0], 3))
    assert text == (
        "The following is a list of 3 gene names ordered by descending expression level in a Homo sapiens cell. Your "
        "task is to give the cell type which this cell belongs to based on its gene expression.\n"
        f"Cell sentence: {names}.\nThe cell type corresponding to these genes is:"
    )


def test_any_rising_function_of_counts_writes_the_same_sentence():
    """Normalised to a total and with its logarithm taken, a cell keeps its order, ties included."""
    cells = cells_of()
    start, gene = ranked(cells.counts, tie_order(WORDS)[cells.counts.indices], 200)
    for i in range(cells.n_cells):
        counts = cells.counts[i].toarray()[0]
        normalised = np.log1p(counts / max(counts.sum(), 1) * 1e4)
        assert gene[start[i] : start[i + 1]].tolist() == slow_genes(normalised, 200)


def test_a_sentence_depends_on_its_cell_alone_and_not_on_the_order_of_genes():
    cells, tokenizer = cells_of(), neox_like()
    whole = writer_of(tokenizer).tokens(cells)
    order = np.random.default_rng(2).permutation(len(NAMES))
    other = Writer(tokenizer, [WORDS[g] for g in order], SentenceSettings(), 0, 4000).tokens(cells.select_genes(order))
    assert np.array_equal(whole.ids, other.ids)
    assert np.array_equal(whole.gene, np.where(other.gene < 0, -1, order[other.gene]))
    for i in (0, 2, 7):
        alone = writer_of(tokenizer).tokens(cells[[i]])
        assert np.array_equal(alone.ids, whole.ids[whole.start[i] : whole.start[i + 1]])


def test_another_count_moves_one_gene_and_leaves_the_order_of_the_others():
    cells = cells_of()
    before = slow_genes(cells.counts[0].toarray()[0], 200)
    changed = cells.counts.tolil()
    changed[0, before[3]] = 50
    start, gene = ranked(changed.tocsr(), tie_order(WORDS)[changed.tocsr().indices], 200)
    assert gene[: start[1]].tolist() == [before[3], *before[:3], *before[4:]]


def test_given_ties_decide_in_place_of_the_fixed_order():
    cells = cells_of()
    ties = np.random.default_rng(0).permutation(cells.counts.nnz)
    start, gene = ranked(cells.counts, ties, 4)
    for i in range(cells.n_cells):
        row = cells.counts[i]
        first = cells.counts.indptr[i]
        slow = sorted(
            (-value, ties[first + k], g) for k, (g, value) in enumerate(zip(row.indices, row.data, strict=True))
        )
        assert gene[start[i] : start[i + 1]].tolist() == [g for _, _, g in slow][:4]


@pytest.mark.parametrize("context", [150, 163, 180])
def test_what_does_not_fit_is_the_last_genes(context):
    cells = cells_of()
    tokenizer = neox_like()
    whole = writer_of(tokenizer).tokens(cells)
    cut = writer_of(tokenizer, context).tokens(cells)
    assert whole.lengths.max() > context
    assert cut.lengths.max() <= context
    behind = PROMPTS["cell_type"].behind
    for i in range(cells.n_cells):
        genes = slow_genes(cells.counts[i].toarray()[0], 200)
        of = cut.gene[cut.start[i] : cut.start[i + 1]]
        kept = list(dict.fromkeys(of[of >= 0].tolist()))
        assert kept == genes[: len(kept)]
        before = PROMPTS["cell_type"].before.format(n_genes=200, organism="Homo sapiens")
        ids, _ = slow_tokens(tokenizer, kept, before, behind, None)
        assert cut.ids[cut.start[i] : cut.start[i + 1]].tolist() == ids
        if len(kept) < len(genes):  # one more has no room
            assert len(slow_tokens(tokenizer, genes[: len(kept) + 1], before, behind, None)[0]) > context


def test_unfinished_and_other_prompts():
    cells, tokenizer = cells_of(), neox_like()
    writer = writer_of(tokenizer)
    text = tokenizer.decode(writer.tokens(cells[:1], finished=False).ids.tolist())
    last = WORDS[slow_genes(cells.counts[0].toarray()[0], 200)[-1]]
    assert text.endswith(f" {last}")
    alone = writer_of(tokenizer, prompt="none").tokens(cells)
    assert alone.ids[alone.start[2] : alone.start[3]].tolist() == [0]  # a cell without counts
    asked = writer_of(tokenizer, prompt="none").tokens(cells, "cell_type")
    assert np.array_equal(asked.ids, writer.tokens(cells).ids)
    none = writer.tokens(cells[:0])
    assert len(none) == 0
    assert none.ids.tolist() == []


def test_wrong_input_is_named():
    tokenizer, cells = neox_like(), cells_of()
    with pytest.raises(InputError, match="no prompt 'cell'"):
        SentenceSettings(prompt="cell")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no rows 'first'"):
        SentenceSettings(rows="first")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="n_genes of 1 or more"):
        SentenceSettings(n_genes=0)
    with pytest.raises(InputError, match="give label"):
        SentenceSettings(prompt="generation")
    with pytest.raises(InputError, match="the prompt alone has"):
        writer_of(tokenizer, context=20).tokens(cells)
    missing = cells_of()
    missing.obs["type"] = missing.obs["type"].where(np.arange(missing.n_cells) != 4)
    with pytest.raises(InputError, match="'c4' has no 'type'"):
        writer_of(tokenizer, prompt="generation", label="type").tokens(missing)
    with pytest.raises(InputError, match="no obs column 'kind'"):
        writer_of(tokenizer, prompt="generation", label="kind").tokens(cells)
    for name in ("TWO WORDS", "", " X", "tab\tname"):
        with pytest.raises(InputError, match="cannot be written"):
            words_of(["CD3D", name], True, "cells")
    assert words_of(["Cd3d", "C1orf43"], True, "cells") == ["CD3D", "C1ORF43"]
    assert words_of(["Cd3d"], False, "cells") == ["Cd3d"]
