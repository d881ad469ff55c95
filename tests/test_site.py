"""The site that `make docs` builds: whole, without a warning, and complete in itself."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = {path.name for path in (ROOT / "docs").glob("*.md")}


def test_each_page_has_its_place() -> None:
    """A page stands once in the site's navigation, and in the README's list."""
    navigation = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(navigation) == sorted(PAGES)
    _, _, documents = (ROOT / "README.md").read_text().partition("\n## Documents\n")
    listed = re.findall(r"^\| \[[^]]+\]\(docs/(\S+\.md)\)", documents, re.MULTILINE)
    assert sorted(listed) == sorted(PAGES - {"index.md"})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built so that any warning fails: a page without a place, a link or heading that is not there.

    Not with --quiet, which keeps warnings from being counted.
    """
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.mark.soak
def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Scripts, styles, fonts and pictures are the site's own, so that it works without a network."""
    assert list(site.rglob("*.py*")) == []
    pages = list(site.rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*?(?:src|href)=\"([^\"]+)\"", page.read_text())
        assert loaded
        assert [address for address in loaded if re.match(r"[a-z]+:|//", address)] == [], page.name
    for style in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?:https?:)?//", style.read_text()) == [], style.name


@pytest.mark.soak
def test_what_pages_link_to_outside_of_docs_is_there(site: Path) -> None:
    """A manifest that a page names can be had from the site, byte for byte."""
    links = {path for page in PAGES for path in re.findall(r"\]\(\.\./([^)#]+)", (ROOT / "docs" / page).read_text())}
    assert links
    for path in links:
        assert (site / path).read_bytes() == (ROOT / path).read_bytes()
    assert 'href="deploy/kubernetes/sidecar-native.yaml"' in (site / "kubernetes.html").read_text()
