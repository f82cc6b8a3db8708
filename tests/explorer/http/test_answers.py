"""Files as answers: which paths can be, types, ETag, gzip; and that the page's folder is its limit."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.requests import Request

from cellglass.errors import InputError
from cellglass.explorer.http import answers
from cellglass.explorer.http.answers import Answers, Found, is_tree_path, page_files


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw, "query_string": b""})


LONG = Found("data/x.json", json.dumps(list(range(5000))).encode(), lasting=False)


def test_paths_of_the_tree_are_plain_names() -> None:
    assert all(map(is_tree_path, ("data/manifest.json", "data/cards/0.json", "data/a-b/12.bin")))
    bad = ["data", "data/", "/data/x", "data//x", "data/.x", "data/../x", "data/x\n", "data/x\0", "data/%2e", "x/y"]
    bad += ["data\\x", "data/a/b/c/d/e/f", "data/" + "x" * 201, "", "Data/x", "data/ä"]
    assert not any(map(is_tree_path, bad))


def test_the_page_is_what_lies_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "page" / "assets").mkdir(parents=True)
    (tmp_path / "secret.json").write_text("secret")
    for name in ("index.html", "assets/a.js", "notes.sqlite", "run.sh"):
        (tmp_path / "page" / name).write_text("x")
    (tmp_path / "page" / "link.json").symlink_to(tmp_path / "secret.json")
    (tmp_path / "page" / "away").symlink_to(tmp_path, target_is_directory=True)
    assert set(page_files(tmp_path / "page")) == {"index.html", "assets/a.js"}
    (tmp_path / "page" / "index.html").unlink()
    with pytest.raises(InputError, match="the page is not built"):
        page_files(tmp_path / "page")


@pytest.mark.parametrize("path", [*(f"x{suffix}" for suffix in answers.TYPES), "x.exe", "x"])
def test_each_file_has_its_type_and_the_unknown_are_bytes(path: str) -> None:
    found = Answers(pack=False).answer(request(), Found(path, b"x", lasting=False))
    assert found.headers["content-type"] == answers.TYPES.get(Path(path).suffix, "application/octet-stream")


def test_a_tag_is_of_the_content_and_spares_the_second_sending() -> None:
    makes = Answers(pack=True)
    tag = makes.answer(request(), LONG).headers["etag"]
    assert tag == makes.answer(request(), LONG._replace(path="other.json")).headers["etag"]
    assert tag != makes.answer(request(), LONG._replace(content=LONG.content + b" ")).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = makes.answer(request(if_none_match=known), LONG)
        assert (again.status_code, again.body, again.headers["etag"]) == (304, b"", tag)
    assert makes.answer(request(if_none_match='"other"'), LONG).status_code == 200


def test_only_what_has_a_hash_in_its_name_is_kept_for_ever() -> None:
    makes = Answers(pack=False)
    assert makes.answer(request(), LONG).headers["cache-control"] == "private, no-cache"
    assert "immutable" in makes.answer(request(), LONG._replace(lasting=True)).headers["cache-control"]


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, GZIP ;q=0.5", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
    ],
)
def test_gzip_where_it_is_taken(accepted: str, packed: bool) -> None:
    found = Answers(pack=True).answer(request(accept_encoding=accepted), LONG)
    assert ("content-encoding" in found.headers) is packed
    assert found.headers["vary"] == "accept-encoding"
    assert (gzip.decompress(found.body) if packed else found.body) == LONG.content


def test_numbers_and_small_files_are_not_packed_and_nothing_is_where_it_is_off() -> None:
    asks = request(accept_encoding="gzip")
    for found in (LONG._replace(path="x.bin"), LONG._replace(content=b"[]")):
        assert "content-encoding" not in Answers(pack=True).answer(asks, found).headers
    assert "content-encoding" not in Answers(pack=False).answer(asks, LONG).headers


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PACKED_MEMORY", 20_000)
    makes = Answers(pack=True)
    contents = [json.dumps([i, *range(4000)]).encode() for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        ask = lambda content: makes.answer(request(accept_encoding="gzip"), LONG._replace(content=content))  # noqa: E731
        found = list(pool.map(ask, contents * 2))
    assert [gzip.decompress(one.body) for one in found] == contents * 2
    assert sum(map(len, makes._packed.values())) <= 20_000
    assert makes._packed


def test_a_file_that_no_browser_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LARGEST_FILE", 10)
    with pytest.raises(InputError, match="too many for a browser"):
        Answers(pack=False).answer(request(), LONG)
