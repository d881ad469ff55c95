"""The pages that show podman and Compose are true: what they show happens, with the image that is tested."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import console
from tests.container.podman import DEPLOY, IMAGE, ROOT, hurried, podman, with_images
from tests.e2e.ports import free_port

PAGES = {"README.md": "podman", "docs/podman.md": "podman", "docs/compose.md": "podman-compose"}
"""Each page, and the program that it is about."""


@pytest.mark.timeout(90)
@pytest.mark.parametrize("page", PAGES)
def test_what_is_shown_is_what_happens(page: str, tmp_path: Path) -> None:
    """Its commands do what is shown, under a name that nobody has and on ports that are free."""
    if shutil.which(PAGES[page]) is None:
        pytest.skip(f"{PAGES[page]} is not installed")
    name, port, plain, api = f"shop-{os.getpid()}", *(str(free_port()) for _ in range(3))
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    for manifest in (tmp_path / "deploy").glob("*/*.yaml"):
        text = hurried(with_images(manifest.read_text())).replace("shop", name).replace("8443:8443", f"{port}:8443")
        text = text.replace("hostPort: 8443", f"hostPort: {port}").replace("hostPort: 8080", f"hostPort: {plain}")
        manifest.write_text(text)
    text = (ROOT / page).read_text().replace("shop", name).replace(" deploy/", f" {tmp_path}/deploy/")
    text = text.replace(" tlsproxy -m http", f" {IMAGE} -m http").replace("=8000 tlsproxy\n", f"=8000 {IMAGE}\n")
    try:
        console.run(
            text.replace("localhost:8443", f"localhost:{port}")
            .replace("8443:", f"{port}:")
            .replace("localhost:8080", f"localhost:{plain}")
            .replace("9100", api),
            tmp_path,
            "run with podman",
        )
    finally:
        podman("pod", "rm", "--force", "--ignore", "--time", "0", name)
        # With what is still in it. podman-compose of old leaves it.
        subprocess.run(["podman", "network", "rm", "--force", f"{name}_default"], capture_output=True, check=False)
