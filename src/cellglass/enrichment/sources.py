"""Where gene sets come from: the bundled collection, three public ones by name, or any GMT file.

The public ones are fetched once, checked against a sha256 that is written here, and kept in the user's cache folder
(``CELLGLASS_CACHE`` overrides it). Which sets are tested, and how, is not decided here.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from cellglass.enrichment.genesets import GeneSets, read_gmt
from cellglass.errors import InputError

_log = logging.getLogger(__name__)

BUNDLED = "bundled"
BUNDLED_ABOUT = "human cell types, cell states and processes, each with its literature source; needs no network"


@dataclass(frozen=True)
class Source:
    """A public file of gene sets.

    Attributes
    ----------
    name : str
        What users call it.
    url : str
        An address that names one release, so that its content does not change.
    sha256 : str
        Of the file as it is served.
    filename : str
        Its name in the cache folder.
    about : str
        What it is, its release, and its terms of use.
    n_sets : int
        How many sets it holds.
    """

    name: str
    url: str
    sha256: str
    filename: str
    about: str
    n_sets: int = 0


# The sha256 of hallmark and go-bp are of files whose length and last lines equal what these commits hold; that of
# reactome is the one that several independent projects publish for release 97.
_GSEAPY = "https://raw.githubusercontent.com/zqfang/GSEApy"

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            name="hallmark",
            url=f"{_GSEAPY}/8611014ddbde0117dc0d1f0422c9846ac94a6a41/tests/extdata/h.all.v7.0.symbols.gmt",
            sha256="4803c09aae50bbd96d53fc681bd5545a4c89278993c15145dd7b7c994f893516",
            filename="hallmark_v7.0.gmt",
            about="hallmark sets of MSigDB 7.0 (Liberzon et al. 2015), CC BY 4.0",
            n_sets=50,
        ),
        Source(
            name="reactome",
            url="https://download.reactome.org/97/ReactomePathways.gmt.zip",
            sha256="8c1dbc8578431da5d2d5118262718c60b553a9be3398e93658daa069e4a9afd4",
            filename="reactome_97.gmt.zip",
            about="human pathways of Reactome release 97, CC0",
            n_sets=2868,
        ),
        Source(
            name="go-bp",
            url=f"{_GSEAPY}/476d0aabb275ffd9b764b5035b085d8a2897fbee/tests/extdata/enrichr.GO_Biological_Process_2021.gmt",
            sha256="5987ce789053fdd5533393cd65b9abdb5e08e4fade7b0625a1fe234a1207eea4",
            filename="go_bp_2021.gmt",
            about="biological processes of the Gene Ontology, Enrichr's release of 2021, CC BY 4.0",
            n_sets=6036,
        ),
    )
}


def load_source(name: Path | str) -> GeneSets:
    """Return gene sets by name (``bundled``, ``hallmark``, ``reactome``, ``go-bp``) or from the path of a GMT file.

    Raises
    ------
    InputError
        If there is neither such a source nor such a file, if a source cannot be fetched, or if the file is not GMT.
    """
    text = str(name)
    if text == BUNDLED:
        return bundled()
    if text in SOURCES:
        return fetch(SOURCES[text])
    if not Path(name).is_file():
        known = ", ".join([BUNDLED, *SOURCES])
        raise InputError(
            f"gene sets {text!r}: no such file and no such source; give the path of a GMT file, or one of {known}"
        )
    return read_gmt(name)


def describe_sources() -> list[dict[str, Any]]:
    """Return name, number of sets, place (a file, or the address if not fetched yet) and contents of every source."""
    own = bundled()
    rows: list[dict[str, Any]] = [{"name": BUNDLED, "sets": len(own), "where": own.origin, "what": BUNDLED_ABOUT}]
    for source in SOURCES.values():
        kept = cache_folder() / source.filename
        where = str(kept) if kept.is_file() else source.url
        rows.append({"name": source.name, "sets": source.n_sets, "where": where, "what": source.about})
    return rows


def bundled() -> GeneSets:
    """Return the collection that comes with cellglass; needs no network. Descriptions are literature sources."""
    folder = resources.files("cellglass.enrichment") / "bundled"
    with resources.as_file(folder / "cellglass.gmt") as path:
        sets = read_gmt(path, BUNDLED)
    categories = {}
    for line in (folder / "cellglass.tsv").read_text(encoding="utf-8").splitlines():
        cells = line.split("\t")
        if len(cells) > 1 and cells[0] in sets.sets:
            categories[cells[0]] = cells[1]
    return replace(sets, origin="cellglass", categories=categories, species="human")


def cache_folder() -> Path:
    """Return the folder in which fetched sources are kept: ``CELLGLASS_CACHE`` or the user's cache folder."""
    import platformdirs

    override = os.environ.get("CELLGLASS_CACHE")
    return (Path(override).expanduser() if override else platformdirs.user_cache_path("cellglass")) / "genesets"


def fetch(source: Source, *, folder: Path | None = None, timeout: float = 30.0) -> GeneSets:
    """Return a public source, from the cache or, the first time, from its address.

    A file in the cache with another checksum is fetched again; one that arrives with another checksum is thrown away.

    Raises
    ------
    InputError
        If it is not in the cache and cannot be fetched, or if what arrives is not what the checksum promises.
    """
    import pooch

    folder = folder or cache_folder()
    target = folder / source.filename
    way_out = (
        f"download {source.url} on a machine with a network and pass it as --gene-sets FILE.gmt, "
        f"or put it at {target}; --gene-sets {BUNDLED} needs no network"
    )
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        pooch.retrieve(
            url=source.url,
            known_hash=f"sha256:{source.sha256}",
            fname=source.filename,
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=False, timeout=timeout),
        )
    except OSError as error:  # requests' exceptions are OSErrors
        raise InputError(f"gene sets {source.name!r}: cannot be fetched ({type(error).__name__}); {way_out}") from error
    except ValueError as error:  # pooch: the checksum differs
        raise InputError(
            f"gene sets {source.name!r}: what came from {source.url} has another sha256 than {source.sha256}, so it "
            f"was not kept; try again, or {way_out}"
        ) from error
    finally:
        logger.setLevel(level)
    _log.info("gene sets %s: %s", source.name, target)
    return replace(read_gmt(target, source.name), origin=source.url, species="human")
