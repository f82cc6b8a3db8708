import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from cellglass.atlas import open_atlas, write_report
from cellglass.atlas.report.page import escape_json
from cellglass.errors import InputError


def test_json_in_the_page_cannot_end_its_element() -> None:
    data = {"</script>": "<!-- & \u2028 é", "n": [1, None]}
    text = escape_json(data)
    assert json.loads(text) == data
    assert not set("<>&\u2028") & set(text)


def test_the_policy_allows_this_style_and_program_and_nothing_else(report: Path) -> None:
    page = report.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    for element, directive in (("style", "style-src"), ("script", "script-src")):
        bodies = re.findall(rf"<{element}>(.*?)</{element}>", page, flags=re.DOTALL)
        assert len(bodies) == 1
        digest = base64.b64encode(hashlib.sha256(bodies[0].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]


def test_the_page_names_no_other_place(report: Path) -> None:
    page = report.read_text().replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r'\b(src|href)="(?!#)', page)


def test_names_in_files_stay_out_of_the_markup(hostile_report: Path) -> None:
    assert hostile_report.name == "report.html"
    page = hostile_report.read_text()
    assert page.count("</script>") == 2
    assert "<img" not in page


def test_the_same_atlas_gives_the_same_page(atlas_folder: Path, report: Path, tmp_path: Path) -> None:
    assert write_report(open_atlas(atlas_folder), tmp_path / "again.html").read_bytes() == report.read_bytes()


def test_a_map_of_no_cells_is_refused(atlas_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="max_cells is 0"):
        write_report(open_atlas(atlas_folder), tmp_path / "r.html", max_cells=0)
    assert not list(tmp_path.iterdir())
