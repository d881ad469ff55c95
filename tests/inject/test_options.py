"""The options of inject."""

import argparse

import pytest

from tests.inject import corpus


@pytest.mark.parametrize(
    ("text", "version"), [("1.28", (1, 28)), ("v1.30.2", (1, 30)), ("1.29.1-gke.1589020", (1, 29)), ("v1.31+", (1, 31))]
)
def test_versions(text: str, version: tuple[int, int]) -> None:
    """As `kubectl version` and the clouds write them."""
    assert corpus.options(f"--kubernetes-version {text}").kubernetes_version == version


@pytest.mark.parametrize("text", ["one", "1", "1.x", ""])
def test_what_is_no_version(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is a mistake in the command line."""
    with pytest.raises(SystemExit) as ended:
        corpus.options(f"--kubernetes-version '{text}'")
    assert ended.value.code == 2
    assert "is not a version such as 1.30" in capsys.readouterr().err


def test_the_image_is_of_this_version() -> None:
    """Without --image, what is injected is the sidecar that has injected it."""
    from tlsproxy import __version__  # noqa: PLC0415  -- beside what it is for
    from tlsproxy.inject.options import add_options  # noqa: PLC0415

    parser = argparse.ArgumentParser()
    add_options(parser)
    assert parser.parse_args([]).image == f"tlsproxy:{__version__}"
