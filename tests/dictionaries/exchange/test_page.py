"""What docs/exchange.md tells people to type works, and its table holds."""

import json
import re
import runpy
from pathlib import Path

from cellglass.dictionaries.registry import KINDS

PAGE = Path(__file__).parents[3] / "docs" / "exchange.md"


def test_the_python_of_the_page_runs(tmp_path, monkeypatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    (tmp_path / "page.py").write_text("\n".join(blocks), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    after = runpy.run_path(str(tmp_path / "page.py"))
    assert after["again"].config == after["concepts"].config
    assert json.loads(Path("for-saelens/cfg.json").read_text())["metadata"]["hook_name"] == "z"
    assert len(list(Path("for-circuit-tracer").glob("layer_*.safetensors"))) == 3
    assert len(list(Path("for-circuit-tracer-too").glob("W_dec_*.safetensors"))) == 2


def test_the_table_names_every_kind() -> None:
    table = PAGE.read_text(encoding="utf-8").split("## Which kind becomes what")[1].split("\n\n")[1]
    first = " ".join(line.split("|")[1] for line in table.splitlines())
    assert set(re.findall(r"`(\w+)`", first)) == set(KINDS)
