"""What must hold for the gene sets that cellglass brings itself: their form, their symbols, their key markers."""

import csv
import importlib.util
import itertools
import json
import re
from pathlib import Path

import h5py
import pytest

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "src" / "cellglass" / "enrichment" / "bundled"
SYMBOL = re.compile(r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)*|C([1-9]|1\d|2[0-2]|X|Y)orf\d+")
CATEGORIES = {"cell type", "cell state", "signalling", "metabolism"}


def read_gmt() -> list[tuple[str, str, list[str]]]:
    lines = (BUNDLED / "cellglass.gmt").read_text(encoding="utf-8").splitlines()
    return [(term, source, genes) for term, source, *genes in (line.split("\t") for line in lines)]


def read_tsv() -> list[dict[str, str]]:
    with (BUNDLED / "cellglass.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def former_symbols() -> dict[str, str]:
    """Former symbol -> current one, from the table in the README beside the sets."""
    text = (BUNDLED / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w-]+) \| ([\w-]+) \|$", text, flags=re.MULTILINE)
    return {former: current for current, former in rows if current != "current"}


def demo_genes() -> set[str]:
    scanpy = importlib.util.find_spec("scanpy")
    assert scanpy is not None
    assert scanpy.origin is not None
    path = Path(scanpy.origin).parent / "datasets" / "10x_pbmc68k_reduced.h5ad"
    with h5py.File(path, "r") as file:
        var = file["var"]
        names = var["index"] if isinstance(var, h5py.Dataset) else var[var.attrs["_index"]][:]
    return {name.decode() if isinstance(name, bytes) else str(name) for name in names}


def test_there_are_enough_sets_of_every_category() -> None:
    rows = read_tsv()
    assert len(rows) >= 80
    for category in CATEGORIES:
        assert sum(row["category"] == category for row in rows) >= 15


def test_every_set_has_a_plain_number_of_unique_symbols() -> None:
    for term, _, genes in read_gmt():
        assert re.fullmatch(r"[A-Z][A-Z0-9_]+", term)
        assert 8 <= len(genes) <= 60, term
        assert len(set(genes)) == len(genes), term
        assert not [gene for gene in genes if not SYMBOL.fullmatch(gene)], term


def test_gmt_and_tsv_say_the_same() -> None:
    rows = read_tsv()
    from_tsv = [(row["term"], row["source"], int(row["n_genes"])) for row in rows]
    assert from_tsv == [(term, source, len(genes)) for term, source, genes in read_gmt()]
    assert list(rows[0]) == ["term", "category", "description", "source", "n_genes"]


def test_terms_are_unique_and_sorted_by_category_then_term() -> None:
    keys = [(row["category"], row["term"]) for row in read_tsv()]
    assert keys == sorted(keys)
    assert len({term for _, term in keys}) == len(keys)


def test_every_set_has_a_category_a_description_and_a_source() -> None:
    for row in read_tsv():
        assert row["category"] in CATEGORIES
        assert len(row["description"].split()) >= 2, row["term"]
        assert row["description"].endswith("."), row["term"]
        source = re.fullmatch(r"[^\d\t]+ ((?:19|20)\d\d), [^\t]+ \S+:\S+(?:, doi:10\.\d{4,}/\S+)?", row["source"])
        assert source, row["source"]


def test_one_doi_belongs_to_one_citation() -> None:
    sources = {row["source"] for row in read_tsv()}
    dois = [source.rpartition("doi:")[2].lower() for source in sources if "doi:" in source]
    assert len(dois) == len(set(dois))


def test_no_two_sets_are_nearly_the_same() -> None:
    for (a, _, left), (b, _, right) in itertools.combinations(read_gmt(), 2):
        shared, union = len(set(left) & set(right)), len(set(left) | set(right))
        assert shared / union <= 0.7, (a, b)


def test_a_former_symbol_stands_right_behind_the_current_one() -> None:
    former = former_symbols()
    current = {now: then for then, now in former.items()}
    assert len(current) == len(former) >= 50
    for term, _, genes in read_gmt():
        for place, gene in enumerate(genes):
            if gene in former:
                assert genes[place - 1] == former[gene], (term, gene)
            if gene in current:
                assert genes[place + 1 : place + 2] == [current[gene]], (term, gene)


def test_every_symbol_is_a_human_gene() -> None:
    path = ROOT.parent / "shared" / "data" / "vocab" / "geneformer_v1_gene_name_id_dict.json"
    if not path.exists():
        pytest.skip(f"the Geneformer dictionary is not at {path}")
    ensembl = json.loads(path.read_text(encoding="utf-8"))
    former = former_symbols()
    for term, _, genes in read_gmt():
        kept = [gene for gene in genes if gene not in former]
        assert not [gene for gene in kept if gene not in ensembl], term
        assert len({ensembl[gene] for gene in kept}) == len(kept), f"{term} names a gene twice"


def test_the_demo_cells_measure_enough_of_enough_sets() -> None:
    measured = demo_genes()
    assert len(measured) == 765
    assert sum(len(measured.intersection(genes)) >= 5 for _, _, genes in read_gmt()) >= 60


def test_the_table_in_the_guide_is_up_to_date() -> None:
    text = (ROOT / "docs" / "gene-sets.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (\d+) \| (\d+) \|$", text, flags=re.MULTILINE)
    measured = demo_genes()
    descriptions = {row["term"]: row["description"] for row in read_tsv()}
    expected = {
        (term, descriptions[term], str(len(genes)), str(len(measured.intersection(genes))))
        for term, _, genes in read_gmt()
    }
    assert set(rows) == expected
    assert len(rows) == len(expected)


@pytest.mark.parametrize(
    ("term", "markers"),
    [
        ("B_CELL_PAN", "MS4A1 CD79A CD79B CD19"),
        ("PLASMA_CELL", "JCHAIN MZB1 XBP1 TNFRSF17"),
        ("T_CELL_PAN", "CD3D CD3E CD3G CD2"),
        ("CD4_T_CELL_NAIVE", "CD4 CCR7 LEF1 TCF7"),
        ("CD8_T_CELL_CYTOTOXIC", "CD8A CD8B GZMB PRF1 GZMH"),
        ("T_REGULATORY", "FOXP3 IL2RA CTLA4 IKZF2"),
        ("NK_CELL_PAN", "NKG7 GNLY KLRD1 KLRF1 NCAM1"),
        ("MONOCYTE_CLASSICAL", "CD14 LYZ S100A8 S100A9 VCAN"),
        ("MONOCYTE_NONCLASSICAL", "FCGR3A MS4A7 CDKN1C"),
        ("DENDRITIC_CELL_CDC1", "CLEC9A XCR1 BATF3"),
        ("DENDRITIC_CELL_CDC2", "CD1C FCER1A CLEC10A"),
        ("DENDRITIC_CELL_PLASMACYTOID", "LILRA4 CLEC4C IL3RA"),
        ("HAEMATOPOIETIC_STEM_CELL", "CD34 AVP SPINK2"),
        ("MEGAKARYOCYTE_PLATELET", "PPBP PF4 ITGA2B"),
        ("ERYTHROID_LATE", "HBB HBA1 ALAS2"),
        ("CELL_CYCLE_G2_M", "MKI67 TOP2A CDK1 CCNB1"),
        ("INTERFERON_TYPE_I_RESPONSE", "ISG15 IFIT1 MX1 OAS1"),
        ("ANTIGEN_PRESENTATION_MHC_II", "HLA-DRA CD74 CIITA"),
        ("GLYCOLYSIS", "GAPDH PKM ENO1"),
        ("CYTOSOLIC_RIBOSOME_SMALL", "RPS3 RPS6 RPSA"),
    ],
)
def test_key_markers_are_in_place(term: str, markers: str) -> None:
    sets = {name: genes for name, _, genes in read_gmt()}
    assert set(markers.split()) <= set(sets[term])


def test_no_b_cell_marker_among_t_cells_and_the_other_way_round() -> None:
    sets = {name: set(genes) for name, _, genes in read_gmt()}
    assert not sets["T_CELL_PAN"] & {"MS4A1", "CD79A", "CD19", "LYZ", "CD14"}
    assert not sets["B_CELL_PAN"] & {"CD3D", "CD3E", "NKG7", "LYZ", "CD14"}
    assert not sets["MONOCYTE_CLASSICAL"] & {"CD3D", "MS4A1", "FCGR3A", "NKG7"}
