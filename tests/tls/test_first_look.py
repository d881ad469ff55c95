"""tlsproxy/tls/first_look.py."""

from pathlib import Path

import pytest

from tests.tls.material import Request, put
from tlsproxy.tls.files import find
from tlsproxy.tls.first_look import FEW, look_at


@pytest.mark.parametrize("names", [("shop", "gone", "bad"), ("*",)])
def test_what_is_good_is_found(tmp_path: Path, names: tuple[str, ...]) -> None:
    """It is told as it lies there; what is bad or not there is passed over."""
    issued = Request("shop").issue()
    put(tmp_path / "shop", issued.pair)
    put(tmp_path / "bad", (b"garbage", b"garbage"))
    found = look_at(tmp_path, names)
    assert list(found) == ["shop"]
    material, certificate = found["shop"]
    assert material == find(tmp_path, "shop")
    assert int(certificate.serial, 16) == issued.certificate.serial_number


def test_of_many_nothing_is_looked_at(tmp_path: Path) -> None:
    """Whoever waits for the settings would wait for that."""
    put(tmp_path / "shop", Request().issue().pair)
    others = list(map(str, range(FEW)))
    assert look_at(tmp_path, ["shop", *others[1:]])
    assert not look_at(tmp_path, ["shop", *others])


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """Nothing is found in it; whoever serves tells why."""
    assert not look_at(tmp_path / "gone", ["*"])
