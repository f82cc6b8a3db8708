"""The report as a file: whole or not there, the same for the same atlas, and no name of an atlas is markup in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

import cellglass
from cellglass.atlas import open_atlas
from cellglass.errors import InputError
from cellglass.explorer import Tree, write_report
from cellglass.explorer.app import PAGE
from cellglass.explorer.notes.exchange import merge_notes
from cellglass.explorer.notes.place import open_notes
from cellglass.explorer.report import frame
from cellglass.files import sha256
from live import make_page
from reported import held
from synthetic import make_atlas

EVIL = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_atlas(tmp_path_factory.mktemp("reported") / "atlas", n_cells=90, n_concepts=10, hostile=True)


@pytest.fixture(scope="module")
def report(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(open_atlas(folder), tmp_path_factory.mktemp("report"))


def elements(page: str, tag: str) -> list[tuple[str, str]]:
    """Return the attributes and the content of all elements of a kind, as a browser finds their ends."""
    return re.findall(rf"<{tag}\b([^>]*)>(.*?)</{tag}>", page, flags=re.DOTALL | re.IGNORECASE)


def test_a_folder_gets_report_html_and_the_atlas_is_left_alone(folder: Path, tmp_path: Path) -> None:
    before = sha256(folder)
    told: list[tuple[int, int]] = []
    written = cellglass.write_report(open_atlas(folder), tmp_path, progress=lambda _, *n: told.append(n))
    assert written == tmp_path / "report.html"
    assert list(tmp_path.iterdir()) == [written]
    assert sha256(folder) == before
    assert told[-1][0] == told[-1][1] == max(done for done, _ in told)


def test_it_holds_the_tree_and_the_notes(folder: Path, tmp_path: Path) -> None:
    atlas = open_atlas(folder)
    with open_notes(atlas, tmp_path / "n.sqlite") as notes:
        notes.write({"latent": 2, "who": "Ada", "base": None, "label": "<b>"})
        files = held(write_report(atlas, tmp_path / "r.html", notes=notes))
    assert set(files) == {*Tree(atlas).paths(), "data/notes.json", "data/drawn.bin"}
    assert json.loads(files["data/manifest.json"])["live"] is False
    (tmp_path / "notes.json").write_bytes(files["data/notes.json"])
    with open_notes(atlas, tmp_path / "again.sqlite") as again:
        assert merge_notes(again, [tmp_path / "notes.json"]).revisions == 1
    assert json.loads(held(write_report(atlas, tmp_path / "r.html"))["data/notes.json"])["revisions"] == []


def test_the_policy_allows_this_style_and_script_and_nothing_else(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    (style,), (files, program) = elements(page, "style"), elements(page, "script")
    assert 'type="text/plain"' in files[0]
    assert program[0] == ' type="module"'
    for rule, body in (("style-src", style[1]), ("script-src", program[1])):
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'"
    assert rules["default-src"] == rules["connect-src"] == rules["worker-src"] == "'none'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy[1]


def test_script_and_style_are_those_of_the_page_that_is_served(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    (style,), (_, program) = elements(page, "style"), elements(page, "script")
    (script,), (look,) = PAGE.glob("assets/*.js"), PAGE.glob("assets/*.css")
    assert program[1] == script.read_text(encoding="utf-8")
    assert style[1] == look.read_text(encoding="utf-8")


def test_the_page_names_no_other_place(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    for _, body in [*elements(page, "script"), *elements(page, "style")]:
        page = page.replace(body, "")
    assert "http" not in page.replace("http-equiv", "")
    assert not re.search(r'\b(src|href)="(?!data:|#)', page)


def test_names_in_files_stay_out_of_the_markup(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    assert page.count("</script>") == page.count("<script") == 2
    assert "<img" not in page
    assert "pwned" not in page
    assert EVIL in held(report)["data/concepts.json"].decode()


def test_a_title_that_is_markup_stays_text() -> None:
    before, _ = frame(EVIL)
    assert "<title>&lt;/script&gt;" in before
    assert "<img" not in before


def test_a_script_or_a_style_cannot_end_its_element(tmp_path: Path) -> None:
    page = make_page(tmp_path)
    (page / "assets" / "index-Bx3kd92a.js").write_text("const a = '</SCRIPT><script>';\r\n")
    (page / "assets" / "index.css").write_text("p::before { content: '</style>' }")
    _, after = frame("t", page)
    assert r"'\x3c/SCRIPT>\x3cscript>'" in after
    assert "\r" not in after
    before, _ = frame("t", page)
    assert before.count("</style") == 1


def test_the_same_atlas_gives_the_same_file(folder: Path, report: Path, tmp_path: Path) -> None:
    assert write_report(open_atlas(folder), tmp_path / "again.html").read_bytes() == report.read_bytes()


def test_a_map_of_no_cells_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="max_cells is 0"):
        write_report(open_atlas(folder), tmp_path / "r.html", max_cells=0)
    assert not list(tmp_path.iterdir())


def test_a_page_that_is_not_built_is_said(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    with pytest.raises(InputError, match="the page is not built; install cellglass from a wheel, or build web/ first"):
        write_report(open_atlas(folder), tmp_path / "r.html", page_folder=tmp_path / "page")
    page = make_page(tmp_path / "page")
    (page / "assets" / "second.js").write_text("export {}")
    with pytest.raises(InputError, match="not one script and one style"):
        write_report(open_atlas(folder), tmp_path / "r.html", page_folder=page)
    assert not (tmp_path / "r.html").exists()


def test_a_failure_on_the_way_leaves_what_was_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r.html").write_text("an earlier one")
    get = Tree.get

    def fails(self: Tree, path: str) -> bytes:
        if path == "data/terms.json":
            raise OSError("disk full")
        return get(self, path)

    monkeypatch.setattr(Tree, "get", fails)
    with pytest.raises(OSError, match="disk full"):
        write_report(open_atlas(folder), tmp_path / "r.html")
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]
    assert (tmp_path / "r.html").read_text() == "an earlier one"
