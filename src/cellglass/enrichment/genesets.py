"""Gene sets: terms with their genes, read from and written to GMT files, cut down to the genes that were measured.

Knows nothing of where named collections come from (``sources.py``) nor of what is tested (``ora.py``, ``ulm.py``,
``gsea.py``).
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cellglass.errors import InputError
from cellglass.files import atomic_path, is_lfs_pointer


@dataclass(frozen=True, eq=False)
class GeneSets:
    """One source of gene sets.

    Attributes
    ----------
    name : str
        Name of the source, such as ``hallmark``; what tables show in their column `source`.
    sets : mapping of str to tuple of str
        Term to its gene symbols, without repeats, in the order of the file.
    origin : str
        Where the sets came from: a path or an address.
    descriptions : mapping of str to str
        Second column of the GMT, per term; terms without one are absent. In the bundled collection: the literature
        source.
    categories : mapping of str to str
        Kind of each term, where the source gives one.
    species : str
        Whose symbols they are, where that is known: ``human`` of the named sources, nothing of a user's file.
    """

    name: str
    sets: Mapping[str, tuple[str, ...]]
    origin: str = "memory"
    descriptions: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    species: str = ""

    def __len__(self) -> int:
        return len(self.sets)

    @property
    def genes(self) -> set[str]:
        """All symbols that occur in any set."""
        return {gene for genes in self.sets.values() for gene in genes}


def read_gmt(path: Path | str, name: str | None = None) -> GeneSets:
    """Read a GMT file: one set a line, ``TERM<tab>description<tab>GENE<tab>GENE...``.

    Plain, gzipped, or the only ``.gmt`` in a zip; in UTF-8, UTF-16 or Latin-1, with any line ends. Lines that are
    empty or comments (``#``), and sets without genes, are passed over; a term that comes twice is the union of its
    lines; Enrichr's weights (``GENE,1.0``) are dropped.

    Parameters
    ----------
    path : path
        The file.
    name : str, optional
        Name of the source; by default the file's name without its endings.

    Raises
    ------
    InputError
        If the file cannot be read, is not text, has a line that is no GMT, or holds no set.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot read gene sets ({error.strerror or error}); give the path of a GMT file"
        ) from error
    sets: dict[str, dict[str, None]] = {}
    descriptions: dict[str, str] = {}
    for term, description, genes in _lines(_text(data, path), path):
        sets.setdefault(term, {}).update(dict.fromkeys(genes))
        if description:
            descriptions.setdefault(term, description)
    if not sets:
        raise InputError(f"{path}: holds no gene set; expected GMT lines 'TERM<tab>description<tab>GENE<tab>GENE...'")
    return GeneSets(
        name=name or name_of(path),
        sets={term: tuple(genes) for term, genes in sets.items()},
        origin=str(path),
        descriptions={term: text for term, text in descriptions.items() if term in sets},
    )


def name_of(path: Path | str) -> str:
    """Return the name of a source that is read from a file: the file's without its endings."""
    return Path(path).name.removesuffix(".gz").removesuffix(".zip").removesuffix(".gmt")


def write_gmt(sets: GeneSets, path: Path | str) -> None:
    """Write sets as GMT; `read_gmt` gives the same terms, genes and descriptions back.

    Raises
    ------
    InputError
        If a term, description or symbol holds a tab or a line break, which GMT cannot express.
    """
    lines = []
    for term, genes in sets.sets.items():
        cells = [term, sets.descriptions.get(term, ""), *genes]
        if any("\t" in cell or "\n" in cell or "\r" in cell for cell in cells):
            raise InputError(
                f"gene set {term!r}: a tab or line break in its text cannot be written as GMT; take it out"
            )
        lines.append("\t".join(cells) + "\n")
    with atomic_path(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8", newline="\n")


def restrict(sets: GeneSets, symbols: Iterable[str], *, min_size: int = 5, max_size: int = 500) -> GeneSets:
    """Keep of each set the genes among `symbols`, and of the sets those with `min_size` to `max_size` genes left.

    A set that holds all measured genes is dropped too: nothing is left to compare it with.

    Raises
    ------
    InputError
        If no set is left; the message compares the spelling of both sides.
    """
    if not 1 <= min_size <= max_size:
        raise InputError(f"gene sets: sizes {min_size} to {max_size} make no range; use 1 <= min_size <= max_size")
    measured = set(symbols)
    kept = {}
    for term, genes in sets.sets.items():
        present = tuple(gene for gene in genes if gene in measured)
        if min_size <= len(present) <= max_size and len(present) < len(measured):
            kept[term] = present
    if not kept:
        raise InputError(
            f"gene sets {sets.name!r} ({sets.origin}): none of {len(sets)} sets has {min_size} to {max_size} of the "
            f"{len(measured)} measured genes; they spell genes like {_example(sets.genes)}, the cells like "
            f"{_example(measured)}; use gene symbols of the same species on both sides"
        )
    return replace(
        sets,
        sets=kept,
        descriptions={term: text for term, text in sets.descriptions.items() if term in kept},
        categories={term: text for term, text in sets.categories.items() if term in kept},
    )


def _example(genes: Iterable[str]) -> str:
    some: Sequence[str] = sorted(gene for gene in genes if gene)[:2]
    return ", ".join(some) or "nothing"


def _text(data: bytes, path: Path) -> str:
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        elif data[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [name for name in archive.namelist() if name.endswith(".gmt")]
                if len(members) != 1:
                    raise InputError(
                        f"{path}: this zip holds {len(members)} .gmt files; unpack it and give the one you want"
                    )
                data = archive.read(members[0])
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: damaged archive ({error}); fetch the file again") from error
    if not data.strip():
        raise InputError(f"{path}: is empty; expected GMT lines 'TERM<tab>description<tab>GENE<tab>GENE...'")
    if is_lfs_pointer(path):
        raise InputError(f"{path}: is a Git LFS pointer, not the file itself; fetch that with: git lfs pull")
    text = _decoded(data)
    if "\x00" in text:
        raise InputError(f"{path}: is a binary file, not GMT; give a tab-separated file of gene sets")
    if re.search(r"[\x01-\x08\x0e-\x1f\x7f]", text):
        raise InputError(f"{path}: is not text, so not a GMT file; give a tab-separated file of gene sets")
    if text.lstrip().startswith(("{", "[")):
        raise InputError(f"{path}: is JSON, not GMT; download the same sets as GMT, or write them as GMT")
    if text.lstrip()[:15].lower().startswith(("<!doctype", "<html")):
        raise InputError(f"{path}: is a web page, not GMT; download the file itself")
    return text


def _decoded(data: bytes) -> str:
    """Return text in UTF-8, in UTF-16 that begins with its mark, or else in Latin-1, which holds any byte."""
    for encoding in ("utf-16", "utf-8-sig") if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _lines(text: str, path: Path) -> Iterator[tuple[str, str, list[str]]]:
    for number, line in enumerate(re.split("\r\n|\r|\n", text), start=1):
        if not line.strip() or (line.startswith("#") and len(line.split("\t")) < 3):
            continue
        cells = line.split("\t")
        term = cells[0].strip()
        if len(cells) < 2 or not term:
            what = "has no tab" if len(cells) < 2 else "names no term"
            raise InputError(
                f"{path}, line {number}: {what}, so it is not GMT; expected 'TERM<tab>description<tab>GENE<tab>GENE...'"
            )
        genes = [gene.partition(",")[0].strip() for gene in cells[2:]]
        genes = [gene for gene in genes if gene]
        if genes:
            yield term, cells[1].strip(), genes
