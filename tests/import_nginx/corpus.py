"""The corpus: configurations and environments as people have them, and what is made of each.

`python -m tests.import_nginx.corpus` writes the outcomes and the documents' table anew; look at the difference before
it is kept.
"""

import sys
from pathlib import Path

from tlsproxy.import_nginx.directives import table
from tlsproxy.import_nginx.images import import_environment
from tlsproxy.import_nginx.reading import read
from tlsproxy.import_nginx.report import Report
from tlsproxy.import_nginx.servers import import_servers

FOLDER = Path(__file__).parent / "configurations"
NAMES = sorted(path.name for path in FOLDER.glob("*.conf")) + sorted(path.name for path in FOLDER.glob("*.env"))
PAGE = Path(__file__).parents[2] / "docs" / "moving-from-nginx.md"
MARKS = "<!-- directives -->\n\n", "\n<!-- /directives -->"


def imported(name: str) -> Report:
    path = FOLDER / name
    if path.suffix == ".env":
        return import_environment(path.read_text())
    directives, _ = read(str(path))
    return import_servers(directives, name)


def golden(name: str) -> Path:
    return (FOLDER / name).with_suffix(".outcome")


def documented() -> tuple[str, str, str]:
    """The page up to its table, the table, and the rest."""
    head, _, rest = PAGE.read_text().partition(MARKS[0])
    inner, _, tail = rest.partition(MARKS[1])
    return head, inner, tail


def main() -> int:
    for name in NAMES:
        golden(name).write_text(str(imported(name)))
    if PAGE.exists():
        head, _, tail = documented()
        PAGE.write_text(head + MARKS[0] + table() + MARKS[1] + tail)
    return 0


if __name__ == "__main__":
    sys.exit(main())
