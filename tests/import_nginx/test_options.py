"""The options of import-nginx."""

import argparse

import pytest

from tlsproxy.import_nginx.options import add_options


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(arguments)


def test_a_file_or_an_environment() -> None:
    """One of the two is read."""
    assert parsed("nginx.conf").file == "nginx.conf"
    assert parsed("--env", "x.env").env == "x.env"


@pytest.mark.parametrize("arguments", [(), ("nginx.conf", "--env", "x.env")])
def test_none_or_both(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """It is a mistake."""
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)
    assert ended.value.code == 2
    assert "FILE" in capsys.readouterr().err
