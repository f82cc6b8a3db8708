"""What a report holds, read back from its file."""

from __future__ import annotations

from pathlib import Path

from cellglass.explorer.data.parts import unpack


def held(report: Path) -> dict[str, bytes]:
    """Return the files in a report by their path."""
    text = report.read_text(encoding="utf-8")
    lines = text.split('id="files">\n')[1].split("</script>")[0].splitlines()
    return {path: unpack(packed) for path, packed in (line.split(" ") for line in lines)}
