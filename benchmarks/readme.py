"""What commands write into this folder's README, and into a project's page on scale.

A table has markers of its own, so that one that is measured again leaves the others as they are.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import report
from benchmarks.projects import TEMPLATE
from benchmarks.scale import USES

README = Path(__file__).with_name("README.md")
SCALE = TEMPLATE / "docs" / "scale.md"


def write_results() -> None:
    """Put each result in `build/bench/` where it is shown; those of other benchmarks stay."""
    found = json.loads((report.FOLDER / report.RESULTS).read_bytes())
    about = report.described(found["machine"])
    for entry in found["results"]:
        result = report.result_of(entry)
        scale = result.name in USES
        told = report.table(result) if scale else f"#{report.markdown(result)}"
        when = f"Measured on {entry['measured'][:10]}; {about}."
        put(result.name, f"{told}\n\n{when}", SCALE if scale else README)


def put(name: str, text: str, path: Path = README) -> None:
    """Replace what stands between the markers of a name.

    Raises:
        ValueError: there are no such markers.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{path.name} has no markers of {name!r}")
    path.write_text(f"{before}{begin}\n{text}\n\n{end}{after}", encoding="utf-8")
