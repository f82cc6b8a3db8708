"""The report: a whole atlas as one HTML file that opens offline, for people who would rather look than read.

``collect.py`` gathers what the page shows, ``pack.py`` makes arrays small, ``page.py`` puts data, style and program
into one file; the page itself is hand-written HTML, CSS and JavaScript in ``assets/``.
"""

from cellglass.atlas.report.page import write_report

__all__ = ["write_report"]
