"""Under which licence each Python package of the images is, as its own metadata says.

`python -m tests.deploy.licences` writes the list into docs/security.md.
"""

import re
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
SECTION = re.compile(r"(<!-- licences -->\n).*?(\n<!-- /licences -->)", re.DOTALL)

ALLOWED = frozenset({"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"})
"""By their names in SPDX's list: they ask for no more than to be named along."""
WRITTEN_OTHERWISE = {"Apache 2.0": "Apache-2.0", "MIT License": "MIT"}


LOCKS = {"all": "requirements.lock", "topz": "requirements-topz.lock", "configsync": "requirements-configsync.lock"}
"""What each image is made of, that of tlsproxy first; the others have the same and more."""


def packages() -> dict[str, str]:
    """What the images are made of besides Python, Debian's libraries and ours, and which image alone."""
    found: dict[str, str] = {}
    for image, lock in LOCKS.items():
        for package in re.findall(r"^([a-z0-9-]+)==", (ROOT / lock).read_text(), re.MULTILINE):
            found.setdefault(package, image)
    return found


def licence(package: str) -> str:
    """As an expression of SPDX's; empty where its metadata has none.

    Raises:
        PackageNotFoundError: it is not installed here.
    """
    said = metadata.metadata(package).json
    text = str(said.get("license_expression") or said.get("license") or "")
    return WRITTEN_OTHERWISE.get(text, text)


def parts(expression: str) -> list[str]:
    """The licences of an expression: whatever AND and OR say, each has to do."""
    return re.split(r" (?:AND|OR) ", expression.replace("(", "").replace(")", ""))


def table() -> str:
    """The page's list."""
    rows = [f"| {package} | {licence(package)} | {image} |" for package, image in packages().items()]
    return "\n".join(["| package | licence | in the image of |", "|---|---|---|", *rows])


if __name__ == "__main__":
    PAGE.write_text(SECTION.sub(lambda match: match[1] + table() + match[2], PAGE.read_text()))
