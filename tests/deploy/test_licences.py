"""The licences of what is in the images: known, permissive, and listed."""

from importlib import metadata

import pytest

from tests.deploy import licences


@pytest.mark.parametrize("package", licences.packages())
def test_each_licence_is_known_and_permissive(package: str) -> None:
    """No package of an image is under a licence that nobody has looked at, or that asks for more than to be named."""
    try:
        expression = licences.licence(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed here")
    assert set(licences.parts(expression)) <= licences.ALLOWED, expression


def test_the_page_lists_them() -> None:
    """Each package of the locks, in their order; what stands beside it is what its metadata says."""
    match = licences.SECTION.search(licences.PAGE.read_text())
    assert match is not None
    rows = [line.strip("| ").split(" | ") for line in match[0].splitlines() if line.startswith("|")][2:]
    assert {name: image for name, _, image in rows} == licences.packages()
    assert all(set(licences.parts(expression)) <= licences.ALLOWED for _, expression, _ in rows)
