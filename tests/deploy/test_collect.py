"""deploy/image/collect.py: what is left out of a library is what nobody loads."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from httptools.parser import parser

COLLECT = Path(__file__).parents[2] / "deploy" / "image" / "collect.py"
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


def test_what_is_no_library(tmp_path: Path) -> None:
    """It stays as it is."""
    (tmp_path / "x.so").write_text("INPUT(libx.so.1)\n")
    collect().cut(tmp_path / "x.so")
    assert (tmp_path / "x.so").read_text() == "INPUT(libx.so.1)\n"
