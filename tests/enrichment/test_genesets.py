import gzip
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellglass.enrichment.genesets import GeneSets, read_gmt, restrict, write_gmt
from cellglass.errors import InputError

SYMBOL = st.text("ABCDEFGHIJ0123456789-.", min_size=1, max_size=6)
TERM = st.text("abc XYZ_()':0123", min_size=1, max_size=12).map(str.strip).filter(bool)


@given(
    sets=st.dictionaries(TERM, st.lists(SYMBOL, min_size=1, max_size=5, unique=True).map(tuple), min_size=1, max_size=5)
)
def test_what_is_written_is_read(sets, tmp_path_factory):
    path = tmp_path_factory.mktemp("gmt") / "some.gmt"
    descriptions = {term: f"about {term}" for term in list(sets)[::2]}
    write_gmt(GeneSets("some", sets, descriptions=descriptions), path)
    again = read_gmt(path)
    assert dict(again.sets) == sets
    assert dict(again.descriptions) == descriptions
    assert again.name == "some"


def test_lines_of_every_kind(tmp_path):
    path = tmp_path / "mixed.gmt"
    path.write_bytes(
        "\ufeffA\tfirst\tG1\tG2\tG1\r\n\r\n   \nB\t\tG3,1.0\tG4,0.5\t\nA\tsecond\tG2\tG5\nEMPTY\tnothing\n".encode()
    )
    sets = read_gmt(path)
    assert dict(sets.sets) == {"A": ("G1", "G2", "G5"), "B": ("G3", "G4")}
    assert dict(sets.descriptions) == {"A": "first"}
    assert sets.genes == {"G1", "G2", "G3", "G4", "G5"}


def test_gzip_and_zip_are_read(tmp_path):
    line = b"A\tx\tG1\tG2\n"
    (tmp_path / "a.gmt.gz").write_bytes(gzip.compress(line))
    with zipfile.ZipFile(tmp_path / "a.gmt.zip", "w") as archive:
        archive.writestr("deep/a.gmt", line)
        archive.writestr("readme.txt", "no")
    for path in ("a.gmt.gz", "a.gmt.zip"):
        sets = read_gmt(tmp_path / path)
        assert (sets.name, dict(sets.sets)) == ("a", {"A": ("G1", "G2")})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"A\tx\tG1\nplain text\n", "line 2: has no tab"),
        (b"\tx\tG1\n", "line 1: names no term"),
        (b"A\tx\nB\ty\t\n", "holds no gene set"),
        (b"A\tx\tG1\x00\n", "binary"),
        (b"\x89HDF\r\n\x1a\n\xff\xfe", "not text"),
        (b"\x1f\x8b\x08broken", "damaged archive"),
        (b"PK\x03\x04broken", "damaged archive"),
    ],
)
def test_no_gmt_is_refused_in_one_line(tmp_path, content, says):
    path = tmp_path / "bad.gmt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        read_gmt(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zip_of_two_and_a_missing_file_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.gmt", "A\tx\tG\n")
        archive.writestr("b.gmt", "A\tx\tG\n")
    with pytest.raises(InputError, match=r"holds 2 \.gmt files"):
        read_gmt(tmp_path / "two.zip")
    with pytest.raises(InputError, match="No such file"):
        read_gmt(tmp_path / "none.gmt")


def test_a_tab_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="tab or line break"):
        write_gmt(GeneSets("s", {"A\tB": ("G",)}), tmp_path / "s.gmt")
    assert list(tmp_path.iterdir()) == []


def test_restrict_keeps_measured_genes_and_fitting_sets():
    sets = GeneSets(
        "s", {"two": ("A", "B", "X"), "one": ("A", "Y"), "all": ("A", "B", "C", "D")}, descriptions={"one": "d"}
    )
    assert dict(restrict(sets, "ABCD", min_size=2, max_size=3).sets) == {"two": ("A", "B")}
    assert dict(restrict(sets, "ABCD", min_size=1).sets) == {"two": ("A", "B"), "one": ("A",)}
    with pytest.raises(InputError, match=r"none of 3 sets has 3 to 500 of the 2 measured genes.*A, B.*ENSG1, ENSG2"):
        restrict(sets, ["ENSG1", "ENSG2"], min_size=3)
    with pytest.raises(InputError, match="make no range"):
        restrict(sets, "ABCD", min_size=3, max_size=2)


FORMS = {
    "Windows": "\r\n",
    "old Macintosh": "\r",
    "mixed": "\n\r\n\r",
}


@pytest.mark.parametrize("ends", FORMS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_line_ends_and_encodings_of_other_programs(ends, encoding, tmp_path):
    lines = ["# made by hand", *(f"TNF-\xe4 {i}\twhat\tG{i}\tG{i + 1}" for i in range(10))]
    (tmp_path / "x.gmt").write_bytes(FORMS[ends].join(lines).encode(encoding))
    sets = read_gmt(tmp_path / "x.gmt")
    assert list(sets.sets) == [f"TNF-\xe4 {i}" for i in range(10)]
    assert sets.sets["TNF-\xe4 3"] == ("G3", "G4")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b'{"S1": {"geneSymbols": ["A"]}}', "is JSON"),
        (b"<!DOCTYPE html><html>", "is a web page"),
    ],
)
def test_what_it_is_instead_is_said(content, says, tmp_path):
    (tmp_path / "x.gmt").write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_gmt(tmp_path / "x.gmt")
