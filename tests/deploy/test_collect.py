"""deploy/image/collect.py: what is left out is what nobody loads."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from httptools.parser import parser

ROOT = Path(__file__).parents[2]
COLLECT = ROOT / "deploy" / "image" / "collect.py"
COMPANIONS = ROOT / "tlsproxy" / "companions"
LOAD = """
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
loader = ExtensionFileLoader("httptools.parser.parser", sys.argv[1])
module = module_from_spec(spec_from_loader(loader.name, loader))
loader.exec_module(module)
print(module.HttpRequestParser.__name__)
"""


def collect() -> ModuleType:
    """The program, which is no module of the project."""
    spec = importlib.util.spec_from_file_location("collect", COLLECT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_library_without_its_symbols(tmp_path: Path) -> None:
    """It is smaller, and loads as before; once more changes nothing."""
    library = tmp_path / Path(parser.__file__).name
    library.write_bytes(Path(parser.__file__).read_bytes())
    before = library.stat().st_size
    collect().cut(library)
    after = library.read_bytes()
    assert len(after) < before / 2
    loaded = subprocess.run([sys.executable, "-c", LOAD, library], capture_output=True, text=True, check=True)
    assert loaded.stdout == "HttpRequestParser\n"
    collect().cut(library)
    assert library.read_bytes() == after


@pytest.mark.parametrize(
    ("program", "kept"),
    [
        ("tlsproxy", {"life.py"}),
        ("topz", {"life.py", "__init__.py", "cli.py topz"}),
        ("configsync", {"life.py", "__init__.py", "cli.py configsync", "cli.py rollout"}),
    ],
)
def test_what_another_program_needs(tmp_path: Path, program: str, kept: set[str]) -> None:
    """It is left out: its command, and its folder; the proxy knows no companion."""
    package = tmp_path / "lib" / "python3.11" / "site-packages" / "tlsproxy"
    for folder in ("topz", "configsync", "rollout"):
        (package / "companions" / folder).mkdir(parents=True)
        (package / "companions" / folder / "cli.py").touch()
    (package / "companions" / "__init__.py").touch()
    (package / "life.py").touch()
    (tmp_path / "bin").mkdir()
    for command in ("tlsproxy", "topz", "configsync", "watchfiles", "python3.11"):
        (tmp_path / "bin" / command).touch()
    (tmp_path / "bin" / "python").symlink_to("python3.11")
    (tmp_path / "bin" / "python3.11").unlink()
    collect().keep_one(tmp_path, program)
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {"python", program}
    found = {path.relative_to(package).parts for path in package.rglob("*.py")}
    assert {" ".join((name, *way[1:])) for *way, name in found} == kept


def test_every_companion_has_its_folders() -> None:
    """Whatever a companion imports is among them, and nobody else's."""
    needed = collect().COMPANIONS
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert needed.keys() == scripts.keys() - {"tlsproxy"}
    for program, folders in needed.items():
        modules = [path for folder in folders for path in (COMPANIONS / folder).rglob("*.py")]
        imports = {name for path in modules for name in re.findall(r"tlsproxy\.companions\.(\w+)", path.read_text())}
        assert imports == set(folders), program


def test_what_is_no_library(tmp_path: Path) -> None:
    """It stays as it is."""
    (tmp_path / "x.so").write_text("INPUT(libx.so.1)\n")
    collect().cut(tmp_path / "x.so")
    assert (tmp_path / "x.so").read_text() == "INPUT(libx.so.1)\n"
