import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellglass.enrichment.names import machine_names
from cellglass.errors import InputError


def one(label=None, f1=math.nan, term=None, q=math.nan, gene=None, latent=7, gene_q=0.01, **lost):
    lost = {name: [value] for name, value in lost.items()}
    return machine_names([label], [f1], [term], [q], [gene], [gene_q], [latent], **lost)[0]


def test_what_is_named():
    assert (
        one("B cell", 0.9, "HALLMARK_IL2_STAT5_SIGNALING", 0.01, "CD79A") == "c7 B cell | il2 stat5 signaling | CD79A"
    )
    assert (
        one("B cell", 0.49, "inflammatory response (GO:0006954)", 0.01, "S100A9") == "c7 inflammatory response | S100A9"
    )
    assert one("B cell", 0.5, "x", 0.05, "S100A9") == "c7 B cell | S100A9"
    assert one(term="DNA Repair_Homo sapiens_R-HSA-73894", q=0.0) == "c7 DNA Repair"
    assert one("CD4+/CD25 T Reg", 1.0) == "c7 CD4+ CD25 T Reg"
    assert one() == one(label="nan", f1=1.0, term="", q=0.0) == "c7"


def test_a_gene_that_is_not_significant_is_never_named():
    for q in (0.05, 0.6, math.nan):
        assert one("B cell", 0.9, gene="CD79A", gene_q=q) == "c7 B cell"


def test_what_is_lost_is_named_as_lost():
    term = {"term": "HALLMARK_INTERFERON_GAMMA_RESPONSE", "q": 0.01, "term_lost": True}
    assert one(**term, gene="STAT1", gene_lost=True) == "c7 loss of interferon gamma response | -STAT1"
    assert one(**(term | {"q": 0.5}), gene="STAT1", gene_lost=True, gene_q=0.5) == "c7"


@given(
    rows=st.lists(st.tuples(*[st.text(max_size=90)] * 3, *[st.floats(0, 1)] * 3, *[st.booleans()] * 2), max_size=6),
)
def test_names_are_unique_short_and_plain(rows):
    columns = list(zip(*rows, strict=True)) or [()] * 8
    labels, terms, genes, f1, q, gene_q, less, without = columns
    names = machine_names(labels, f1, terms, q, genes, gene_q, range(len(rows)), term_lost=less, gene_lost=without)
    assert len(set(names)) == len(rows)
    for name in names:
        assert 2 <= len(name) <= 60
        assert not set("/\t\n") & set(name)
        assert name == name.strip()


def test_a_long_term_is_cut_and_the_gene_stays():
    name = one("CD14 monocyte", 0.8, "positive regulation of tumor necrosis factor superfamily cytokine", 0.01, "LYZ")
    assert len(name) <= 60
    assert name.startswith("c7 CD14 monocyte | positive regulation of")
    assert name.endswith("… | LYZ")


def test_wrong_columns_are_refused():
    with pytest.raises(InputError, match="comes twice"):
        machine_names([None] * 2, [0.0] * 2, [None] * 2, [1.0] * 2, [None] * 2, [1.0] * 2, [3, 3])
    with pytest.raises(InputError, match="give one each"):
        machine_names([None], [0.0], [None], [1.0], [None], [1.0], [3, 4])
