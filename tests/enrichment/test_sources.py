import hashlib
import http.server
import threading
from dataclasses import replace

import pytest

from cellglass.enrichment import sources
from cellglass.enrichment.sources import SOURCES, Source, cache_folder, describe_sources, fetch, load_source
from cellglass.errors import InputError

CONTENT = b"A\tfirst\tG1\tG2\nB\tsecond\tG3\tG4\n"


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Serve CONTENT on loopback and count the requests."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("CELLGLASS_CACHE", str(tmp_path / "cache"))
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/some.gmt"
    yield Source("some", url, hashlib.sha256(CONTENT).hexdigest(), "some_v1.gmt", "two sets", 2), requests
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_source_is_fetched_once_and_checked(served):
    source, requests = served
    for _ in range(2):
        sets = fetch(source)
        assert (sets.name, sets.origin) == ("some", source.url)
        assert dict(sets.sets) == {"A": ("G1", "G2"), "B": ("G3", "G4")}
    assert len(requests) == 1
    kept = cache_folder() / "some_v1.gmt"
    kept.write_bytes(b"A\tdamaged\tG1\n")
    assert len(fetch(source)) == 2
    assert len(requests) == 2
    assert kept.read_bytes() == CONTENT


def test_another_checksum_is_refused_and_not_kept(served):
    source, _ = served
    with pytest.raises(InputError, match=r"another sha256.*--gene-sets FILE.gmt") as caught:
        fetch(replace(source, sha256="0" * 64))
    assert "\n" not in str(caught.value)
    assert list(cache_folder().iterdir()) == []


def test_without_a_network_the_error_names_the_way_out(served, tmp_path):
    source, _ = served
    closed = replace(source, url="http://127.0.0.1:9/some.gmt")
    with pytest.raises(InputError, match="cannot be fetched") as caught:
        fetch(closed, timeout=2)
    message = str(caught.value)
    for part in ("'some'", closed.url, "--gene-sets FILE.gmt", str(tmp_path / "cache"), "some_v1.gmt", "bundled"):
        assert part in message
    assert "\n" not in message
    cache_folder().mkdir(parents=True, exist_ok=True)
    (cache_folder() / "some_v1.gmt").write_bytes(CONTENT)
    assert len(fetch(closed)) == 2


def test_names_paths_and_neither(served, monkeypatch, tmp_path):
    source, _ = served
    monkeypatch.setitem(sources.SOURCES, "some", source)
    assert load_source("some").name == "some"
    (tmp_path / "mine.gmt").write_bytes(CONTENT)
    assert load_source(tmp_path / "mine.gmt").name == "mine"
    with pytest.raises(InputError, match=r"no such file and no such source.*bundled, hallmark, reactome, go-bp"):
        load_source("halmark")


def test_the_bundled_collection_needs_no_network():
    sets = load_source("bundled")
    assert sets.name == "bundled"
    assert len(sets) >= 80
    assert set(sets.descriptions) == set(sets.categories) == set(sets.sets)


def test_every_source_is_described(served):
    rows = describe_sources()
    assert [row["name"] for row in rows] == ["bundled", *SOURCES]
    assert rows[0]["sets"] == len(load_source("bundled"))
    assert {row["where"] for row in rows[1:]} == {source.url for source in SOURCES.values()}


@pytest.mark.parametrize(("name", "file"), [("hallmark", "hallmark_v7.0.gmt"), ("go-bp", "go_bp_2021.gmt")])
def test_known_files_pass_for_the_source(name, file, genesets, monkeypatch, tmp_path):
    monkeypatch.setenv("CELLGLASS_CACHE", str(tmp_path))
    cache_folder().mkdir(parents=True)
    (cache_folder() / SOURCES[name].filename).write_bytes((genesets / file).read_bytes())
    assert len(load_source(name)) == SOURCES[name].n_sets
