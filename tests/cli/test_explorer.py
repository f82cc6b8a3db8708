"""The commands of the explorer: what they print, what they write, and wrong use in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cellglass.atlas import open_atlas
from cellglass.explorer.notes.place import open_notes
from cellglass.explorer.review.session import Item, Review
from cellglass.files import sha256
from reported import held
from synthetic import make_atlas

Outcome = tuple[int, str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_atlas(tmp_path_factory.mktemp("commands") / "made", n_cells=120)


@pytest.fixture
def atlas(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "atlas"))


def _hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _annotate(atlas: Path, label: str, latent: int = 1, path: Path | None = None) -> None:
    with open_notes(open_atlas(atlas), path) as notes:
        head = notes.state(latent)["person"]
        base = None if head is None else head["id"]
        notes.write({"latent": latent, "who": "Ada", "base": base, "label": label})


def test_export_writes_a_site_and_leaves_the_atlas_alone(
    command: Callable[..., Outcome], atlas: Path, tmp_path: Path
) -> None:
    before = _hashes(atlas)
    status, out, err = command("export", atlas, "--out", tmp_path / "site", "--quiet")
    assert (status, err) == (0, "")
    assert "http.server" in out
    assert (tmp_path / "site" / "index.html").is_file()
    assert json.loads((tmp_path / "site" / "data" / "manifest.json").read_text())["live"] is False
    assert _hashes(atlas) == before


def test_export_takes_the_notes_of_the_atlas_unless_told_not_to(
    command: Callable[..., Outcome], atlas: Path, tmp_path: Path
) -> None:
    _annotate(atlas, "plasma cells")
    command("export", atlas, "--out", tmp_path / "with", "--quiet")
    status, out, _ = command("export", atlas, "--out", tmp_path / "without", "--no-notes", "--json")
    assert (status, json.loads(out)) == (0, {"site": str(tmp_path / "without")})
    assert "plasma cells" in (tmp_path / "with" / "data" / "notes.json").read_text()
    assert "plasma cells" not in (tmp_path / "without" / "data" / "notes.json").read_text()


def test_notes_go_from_one_atlas_to_its_copy(
    command: Callable[..., Outcome], atlas: Path, made: Path, tmp_path: Path
) -> None:
    _annotate(atlas, "plasma cells")
    assert command("notes", "export", atlas, "--out", tmp_path / "n.json")[0] == 0
    assert command("notes", "export", atlas, "--out", tmp_path / "n.csv")[0] == 0
    assert "plasma cells" in (tmp_path / "n.csv").read_text()
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    status, out, _ = command("notes", "merge", copy, tmp_path / "n.json", "--json")
    assert status == 0
    assert json.loads(out) == {"notes": str(copy / "annotations.sqlite"), "revisions": 1, "ratings": 0}
    assert "0 new changes" in command("notes", "merge", copy, tmp_path / "n.json")[1]
    with open_notes(open_atlas(copy)) as notes:
        assert notes.state(1)["person"]["label"] == "plasma cells"


def test_agreement_tells_of_ended_reviews_and_of_others_only_early(
    command: Callable[..., Outcome], atlas: Path
) -> None:
    with open_notes(open_atlas(atlas)) as notes:
        review = Review(notes)
        items = [Item("concept", i, 10) for i in range(6)] + [Item("neuron", i, 10) for i in range(6)]
        session = review.start(items, 3, 0.5)
        for rater, shift in (("Ada", 0), ("Ben", 1)):
            place = review.place(session, rater)
            while place.code:
                item = review.item(session, rater, place.code)
                rating = (3 if item.kind == "concept" else 1) + (item.number + shift) % 3
                place = review.answer(session, rater, place.code, {"rating": rating})
    status, out, err = command("notes", "agreement", atlas)
    assert (status, out) == (2, "")
    assert "has not ended" in err
    status, out, _ = command("notes", "agreement", atlas, "--early")
    assert status == 0
    assert "(not ended)" in out
    with open_notes(open_atlas(atlas)) as notes:
        Review(notes).end(session)
    status, out, _ = command("notes", "agreement", atlas, "--json")
    found = json.loads(out)[0]
    assert (status, found["session"]) == (0, session)
    assert {one["rater"]: one["kappa"] for one in found["within"]} == {"Ada": 1.0, "Ben": 1.0}
    assert found["differences"][0]["difference"] == pytest.approx(2.0)
    shown = command("notes", "agreement", atlas)[1]
    assert "concept - neuron: 2.00" in shown
    assert "Ada with Ben" in shown
    assert "Ada with themselves: its interval needs at least 10 items rated twice; there are 6" in shown


WRONG = {
    "no atlas": (["explore", "nowhere"], "nowhere"),
    "a folder that is none": (["explore", "{empty}"], "manifest.json"),
    "a port that is none": (["explore", "{atlas}", "--port", "99999"], "--port 99999"),
    "an address of another machine": (["explore", "{atlas}", "--host", "192.0.2.1"], "--host 192.0.2.1"),
    "a model that is not there": (["explore", "{atlas}", "--model", "nowhere"], "--model nowhere"),
    "an atlas without a model": (["explore", "{atlas}", "--transcoders", "{empty}"], "no longer keeps its model"),
    "notes in a folder": (["explore", "{atlas}", "--notes", "{empty}"], "folder"),
    "notes in the manifest": (["explore", "{atlas}", "--notes", "{atlas}/manifest.json"], "annotations.sqlite"),
    "notes in another database": (["explore", "{atlas}", "--notes", "{text}"], "text.json"),
    "export into the atlas": (["export", "{atlas}", "--out", "{atlas}/site"], "never written"),
    "export over other files": (["export", "{atlas}", "--out", "{full}"], "thesis.txt"),
    "export of notes that are not there": (["export", "{atlas}", "--out", "{out}", "--notes", "{out}.db"], "no notes"),
    "merge of nothing": (["notes", "merge", "{atlas}", "{out}.json"], "cannot be read"),
    "merge of something else": (["notes", "merge", "{atlas}", "{text}"], "text.json"),
    "notes into a folder": (["notes", "export", "{atlas}", "--out", "{empty}"], "notes.csv"),
    "no notes to write": (["notes", "export", "{atlas}", "--out", "{out}"], "no notes yet"),
    "no reviews": (["notes", "agreement", "{atlas}"], "no notes yet"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_line_and_harms_nothing(
    case: str, command: Callable[..., Outcome], atlas: Path, tmp_path: Path
) -> None:
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    (tmp_path / "text.json").write_text('{"format": "something else"}')
    places = {"atlas": atlas, "out": tmp_path / "out", "text": tmp_path / "text.json"}
    places |= {name: tmp_path / name for name in ("empty", "full")}
    arguments, told = WRONG[case]
    before = _hashes(tmp_path)
    status, out, err = command(*(argument.format(**places) for argument in arguments))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert told in err
    assert {name: digest for name, digest in _hashes(tmp_path).items() if "annotations" not in name} == before
    assert not (tmp_path / "out").exists()


def test_an_unknown_review_is_named_with_those_there_are(command: Callable[..., Outcome], atlas: Path) -> None:
    with open_notes(open_atlas(atlas)) as notes:
        session = Review(notes).start([Item("concept", 1, 10)], 3, 0.0)
    status, _, err = command("notes", "agreement", atlas, "--session", "x")
    assert status == 2
    assert session in err
    _, _, err = command("notes", "agreement", atlas, "--early")
    assert "nobody has rated" in err


def test_a_report_takes_the_notes_of_the_atlas_unless_told_not_to(
    command: Callable[..., Outcome], atlas: Path, tmp_path: Path
) -> None:
    _annotate(atlas, "plasma cells")
    for options, labels in (([], ["plasma cells"]), (["--no-notes"], [])):
        status, out, _ = command("report", atlas, "--out", tmp_path / "r.html", "--json", *options)
        assert (status, json.loads(out)) == (0, {"report": str(tmp_path / "r.html")})
        notes = json.loads(held(tmp_path / "r.html")["data/notes.json"])
        assert [revision["label"] for revision in notes["revisions"]] == labels


def test_a_report_stands_beside_the_atlas_if_nothing_else_is_said(command: Callable[..., Outcome], atlas: Path) -> None:
    status, out, _ = command("report", atlas)
    assert (status, out) == (0, f"Wrote {atlas / 'report.html'}; open it in a browser.\n")
    assert (atlas / "report.html").is_file()


@pytest.mark.parametrize("arguments", [["explore"], ["export"], ["notes", "merge"], ["notes", "agreement"]])
def test_help_has_an_example(arguments: list[str], command: Callable[..., Outcome]) -> None:
    status, out, _ = command(*arguments, "--help")
    assert status == 0
    assert f"Example: cellglass {' '.join(arguments)}" in out
