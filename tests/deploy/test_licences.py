"""The licences of what is in the image: known, permissive, and listed."""

from importlib import metadata

import pytest

from tests.deploy import licences


@pytest.mark.parametrize("package", licences.packages())
def test_each_licence_is_known_and_permissive(package: str) -> None:
    """No package of the image is under a licence that nobody has looked at, or that asks for more than to be named."""
    try:
        expression = licences.licence(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed here")
    assert set(licences.parts(expression)) <= licences.ALLOWED, expression


def test_the_page_lists_them() -> None:
    """Each package of the lock, in its order; what stands beside it is what its metadata says."""
    match = licences.SECTION.search(licences.PAGE.read_text())
    assert match is not None
    rows = [line.strip("| ").split(" | ") for line in match[0].splitlines() if line.startswith("|")][2:]
    assert [name for name, _ in rows] == licences.packages()
    assert all(set(licences.parts(expression)) <= licences.ALLOWED for _, expression in rows)
