"""The page in a real browser: headless Chromium, as light and as dark, and as it refreshes itself.

`python -m tests.companions.topz.test_browser` takes the picture of the documents anew.
"""

import json
import os
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.companions.topz.example_pod import example_pod
from tests.companions.topz.running import Topz, running
from tests.e2e.polling import wait_until
from tests.e2e.programs import program
from tests.e2e.sidecar_process import PROJECT
from tests.e2e.test_browser import FLAGS, end

pytestmark = pytest.mark.soak

PICTURE = PROJECT / "docs" / "pictures" / "topz.png"
SIZE = (1400, 560)
WITHIN = 30.0
"""Seconds for a picture, which takes 2 on an idle machine."""


@contextmanager
def chromium(home: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Chromium with a home of its own; it ends with the block, and its processes with it."""
    with (
        (home / "chromium.log").open("ab") as log,
        subprocess.Popen(
            [program("chromium", "chromium"), *FLAGS, f"--user-data-dir={home / 'profile'}", *arguments],
            env={"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            end(process)


def picture(url: str, home: Path, *, dark: bool = False) -> bytes:
    """What a person sees, as PNG."""
    path = home / "picture.png"
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    width, height = SIZE
    flags = (f"--screenshot={path}", f"--window-size={width},{height}", "--hide-scrollbars", scheme)
    with chromium(home, *flags, url) as process:
        process.communicate(timeout=WITHIN)
    return path.read_bytes()


def corner(png: bytes) -> tuple[int, ...]:
    """The colour of the first pixel, of 8 bits for each channel."""
    place, content = 8, b""
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        if png[place + 4 : place + 8] == b"IDAT":
            content += png[place + 8 : place + 8 + length]
        place += length + 12
    return tuple(zlib.decompress(content)[1:4])


@pytest.fixture(scope="module")
def topz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topz]:
    directory = tmp_path_factory.mktemp("topz")
    with example_pod(directory / "proc") as proc, running(directory, PROC=proc, REFRESH="1s", SAMPLE="1s") as process:
        yield process


def test_it_is_seen(topz: Topz, tmp_path: Path) -> None:
    """The page's style is taken under its own policy, in the light and in the dark."""
    url = f"http://localhost:{topz.port}/topz?tree=on&sort=pid"
    light, dark = picture(url, tmp_path), picture(url, tmp_path, dark=True)
    assert struct.unpack(">II", light[16:24]) == SIZE == struct.unpack(">II", PICTURE.read_bytes()[16:24])
    assert (corner(light), corner(dark)) == ((255, 255, 255), (0x14, 0x17, 0x1A))


def test_it_stands_as_it_was_written(topz: Topz, tmp_path: Path) -> None:
    """What the browser makes of the page has every process, and nothing that was not sent."""
    with chromium(tmp_path, "--dump-dom", f"http://localhost:{topz.port}/topz?refresh=off") as process:
        dom = process.communicate(timeout=WITHIN)[0].decode()
    assert "-Ddb.password=***" in dom
    assert dom.count('<th scope="row"><a href="/topz/') == 7
    assert "<script" not in dom


def test_it_refreshes_itself(topz: Topz, tmp_path: Path) -> None:
    """A page that is left alone asks again and again, without a script."""

    def taken() -> int:
        snapshots: dict[str, int] = json.loads(topz.get("/status", admin=True).body)["snapshots"]
        return snapshots["taken"]

    before = taken()
    with chromium(tmp_path, "--remote-debugging-port=0", f"http://localhost:{topz.port}/topz"):
        wait_until(lambda: taken() >= before + 4, "it has asked four times", WITHIN)


def main() -> None:
    """Take the picture of the documents."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        with example_pod(directory / "proc") as proc, running(directory, PROC=proc) as process:
            url = f"http://localhost:{process.port}/topz?tree=on&sort=pid"
            PICTURE.write_bytes(picture(url, directory))


if __name__ == "__main__":
    main()
