"""Known pairs: both formats with and without a header, case, signs that disagree, wrong files in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellglass.circuits.biology.regulation import bundled_regulation, read_regulation
from cellglass.errors import InputError

TRRUST = (
    "SPI1\tCD14\tActivation\t1;2\nspi1\tCD14\tUnknown\t3\nPRDM1\tMYC\tRepression\t4\n"
    "A\tB\tActivation\t5\nA\tB\tRepression\t6\n"
)


def read(tmp_path: Path, text: str, name: str = "pairs.tsv") -> list[tuple[str, str, int]]:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return list(read_regulation(tmp_path / name).table.itertuples(index=False, name=None))


def test_trrust_is_read_each_pair_once_and_signs_that_disagree_are_none(tmp_path) -> None:
    assert read(tmp_path, TRRUST) == [("SPI1", "CD14", 1), ("PRDM1", "MYC", -1), ("A", "B", 0)]


@pytest.mark.parametrize(
    "text",
    [
        "A,B\nC,D\n",
        "A\tB\nC\tD\n",
        "source,target\nA,B\nC,D\n",
        "\ufeffTF\tTarget\nA\tB\nC\tD\n",
        "# what it is\nligand,score,receptor\nA,3,B\n\nC,4,D\n",
        '"A","B"\n"C","D"\n',
    ],
)
def test_two_columns_are_read_with_and_without_a_header(text, tmp_path) -> None:
    assert read(tmp_path, text, "pairs.txt") == [("A", "B", 0), ("C", "D", 0)]


def test_modes_are_read_by_their_header(tmp_path) -> None:
    text = "mode,target,source\n+,B,A\n-1,D,C\n,F,E\n"
    assert read(tmp_path, text) == [("A", "B", 1), ("C", "D", -1), ("E", "F", 0)]


def test_pairs_are_found_in_any_case_and_what_is_missing_is_counted(tmp_path) -> None:
    (tmp_path / "p.tsv").write_text(TRRUST + "MYC\tMYC\tActivation\t1\n")
    pairs = read_regulation(tmp_path / "p.tsv")
    found = pairs.within(["Myc", "Prdm1", "a", "CD14"])
    assert found.pairs.table.to_numpy().tolist() == [["Prdm1", "Myc", -1]]
    assert (found.missing, found.left_out) == (["SPI1", "B"], 3)
    assert found.pairs.genes == ["Prdm1", "Myc"]
    assert pairs.within([]).left_out == 4


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "there is no pair of genes in it"),
        ("# nothing\n", "there is no pair of genes in it"),
        ("source,target\n", "no pair of genes below its header"),
        ("A,B\nC\n", "line 2: there are no two genes in 'C'"),
        ("A,B\nC,\n", "line 2: there are no two genes in 'C,'"),
        ("A\tB\tperhaps\n", "line 1: 'perhaps' is no mode"),
    ],
)
def test_a_wrong_file_is_one_line(text, named, tmp_path) -> None:
    with pytest.raises(InputError, match=named) as told:
        read(tmp_path, text)
    assert "\n" not in str(told.value)
    assert "pairs.tsv" in str(told.value)


def test_no_file_and_no_text_are_one_line(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_regulation(tmp_path / "none.tsv")
    (tmp_path / "b.tsv").write_bytes(b"\xff\xfe\x00A")
    with pytest.raises(InputError, match="no text in UTF-8"):
        read_regulation(tmp_path / "b.tsv")


def test_the_bundled_pairs_each_name_where_they_are_from() -> None:
    pairs = bundled_regulation()
    file = Path(__file__).parents[3] / "src/cellglass/circuits/biology/bundled/regulation.tsv"
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")][1:]
    rows = [line.split("\t") for line in lines]
    assert len(rows) == len(pairs.table) > 100
    assert rows == sorted(rows, key=lambda row: (row[3], *row[:2]))
    for source, target, mode, sort, reference in rows:
        assert (source, target) == (source.upper(), target.upper())
        assert (mode == "Unknown") == (sort == "ligand")
        assert any(str(year) in reference for year in range(1985, 2020)), reference
    signs = {(s, t): sign for s, t, sign in pairs.table.itertuples(index=False, name=None)}
    assert (signs["PAX5", "CD19"], signs["PRDM1", "MYC"], signs["CD40LG", "CD40"]) == (1, -1, 0)
