"""What commands write into this folder's README, and into a project's page on scale."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import report
from benchmarks.projects import TEMPLATE
from benchmarks.scale import USES

README = Path(__file__).with_name("README.md")
SCALE = TEMPLATE / "docs" / "scale.md"


def write_results() -> None:
    """Put the results in `build/bench/` into the README, those on scale into their page, too."""
    found = json.loads((report.FOLDER / report.RESULTS).read_bytes())
    results = {entry["name"]: report.result_of(entry) for entry in found["results"]}
    told = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    days = sorted({entry["measured"][:10] for entry in found["results"]})
    head = f"Measured on {' and '.join(days)}; {told}."
    order = [name for name in report.ORDER if name in results]
    tables = [f"#{report.markdown(results[name])}" for name in order]
    put("results", "\n\n".join([head, *tables]))
    for name in USES:
        if name in results:
            put(name, report.table(results[name]), SCALE)


def put(name: str, text: str, file: Path | None = None) -> None:
    """Replace what stands between the markers of a name.

    Raises:
        ValueError: there are no such markers.
    """
    path = file or README
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{path.name} has no markers of {name!r}")
    path.write_text(f"{before}{begin}\n{text}\n\n{end}{after}", encoding="utf-8")
