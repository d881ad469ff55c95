"""Collects what an image is made of: interpreter, standard library, an environment, and what they are linked with.

`python collect.py ENVIRONMENT PROGRAM ROOT` fills ROOT/PROGRAM with the environment, which has that one command besides
Python, and ROOT/system where it is not there yet: all images have the same. It runs in the builder, by the builder's
Python. What is not named here is not in the image: no shell, no package tools, no tests, no debug symbols.
"""

import compileall
import re
import ssl
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from py_compile import PycInvalidationMode
from shutil import copy2, copytree, ignore_patterns, rmtree

# By name, in any folder: types, sources and notes of compiled modules, and bytecode, which is made anew.
ANYWHERE = (
    *("*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.c", "*.h", "*.a", ".hash"),
    *("test", "tests", "_testcapi*", "__pycache__"),
)
# What installers, compilers, test runners and people at a screen want.
OF_THE_STANDARD_LIBRARY = (
    *("ensurepip", "venv", "lib2to3", "distutils", "config-*", "site-packages", "dist-packages"),
    *("idlelib", "tkinter", "_tkinter*", "turtle*", "curses", "_curses*", "readline*", "pydoc_data"),
    *("unittest", "doctest.py", "pdb.py", "bdb.py", "pydoc.py"),
    *("sqlite3", "_sqlite3*", "dbm", "_dbm*", "_gdbm*", "xmlrpc", "nis*"),
    *("_test*", "_ctypes_test*", "_xxtest*", "xxlimited*"),
)
COMPANIONS = {"topz": ("topz",), "configsync": ("configsync", "rollout")}
"""Which folders of tlsproxy/companions a program needs; another one needs none, and has none."""
SYSTEM_FILES = ("/etc/nsswitch.conf", "/etc/ld.so.cache", "/etc/os-release")
DPKG = Path("/var/lib/dpkg")
# ELF's header and program header, of 64 bits and little endian: https://refspecs.linuxfoundation.org/elf/gabi4+/
ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_LIBRARY = re.compile(r"(/\S+) \(0x")


def main(environment: Path, program: str, root: Path) -> None:
    """Fill both parts of the root."""
    system, target = root / "system", root / program
    copytree(environment, target, symlinks=True, ignore=ignore_patterns(*ANYWHERE))
    keep_one(target, program)
    for library in target.rglob("*.so*"):
        cut(library)
    byte_compile(target, environment)
    if not system.exists():
        collect_system((environment / "bin" / "python").readlink(), target, system)
    if missing := [path for path in libraries(target.rglob("*.so*")) if not within(system, path).exists()]:
        sys.exit(f"{program} is linked with what {system} does not have: {', '.join(map(str, missing))}")


def keep_one(target: Path, program: str) -> None:
    """Leave out the commands of other programs, and what of the project is only theirs."""
    for command in (target / "bin").iterdir():
        if not command.is_symlink() and command.name != program:
            command.unlink()
    needed = COMPANIONS.get(program, ())
    for companions in target.glob("lib/python3*/site-packages/tlsproxy/companions"):
        for folder in filter(Path.is_dir, companions.iterdir()):
            if folder.name not in needed:
                rmtree(folder)
        if not needed:
            rmtree(companions)


def collect_system(interpreter: Path, environment: Path, system: Path) -> None:
    """Interpreter, standard library, and the libraries that these and the environment are linked with."""
    standard_library = Path(sysconfig.get_path("stdlib"))
    left_out = ignore_patterns(*ANYWHERE, *OF_THE_STANDARD_LIBRARY)
    copytree(standard_library, within(system, standard_library), ignore=left_out, ignore_dangling_symlinks=True)
    openssl = Path(ssl.get_default_verify_paths().openssl_cafile).with_name("openssl.cnf")
    needed = set(libraries([interpreter, *system.rglob("*.so"), *environment.rglob("*.so")]))
    needed.update(path for path in (interpreter, openssl, *map(Path, SYSTEM_FILES)) if path.exists())
    for path in needed:
        copy(path, system)
    for link in filter(Path.is_symlink, Path("/").iterdir()):
        # /lib64 and its like, by which programs name their loader.
        within(system, link).symlink_to(link.readlink())
    tell_of_packages({path.resolve() for path in needed}, system)
    byte_compile(system, Path("/"))


def cut(library: Path) -> None:
    """Leave out what stands behind the last part that the loader maps: symbols for debuggers and the table of sections.

    A file of another kind stays as it is.
    """
    content = bytearray(library.read_bytes())
    if content[:6] != b"\x7fELF\2\1":
        return
    *head, start, _, flags, own_size, size, number, _, _, _ = ELF_HEADER.unpack_from(content)
    segments = (PROGRAM_HEADER.unpack_from(content, start + index * size) for index in range(number))
    end = max([start + number * size, *(offset + length for _, _, offset, _, _, length, *_ in segments)])
    # No table of sections: no offset, no size, no number, no names.
    ELF_HEADER.pack_into(content, 0, *head, start, 0, flags, own_size, size, number, 0, 0, 0)
    library.write_bytes(content[:end])


def within(root: Path, path: Path) -> Path:
    """Where a path lies below the root; links in its folders are followed, one that it is itself is not."""
    return root / path.parent.resolve().relative_to("/") / path.name


def libraries(binaries: Iterable[Path]) -> Iterator[Path]:
    """The shared libraries that the loader finds for these; those that the environment brings along are there."""
    for binary in binaries:
        command = ["/usr/bin/ldd", str(binary)]
        # It is asked about what has just been installed by its hash.
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 -- see above
        yield from (Path(path) for path in _LIBRARY.findall(found) if "/site-packages/" not in path)


def copy(path: Path, root: Path) -> None:
    """Copy a file to its place below the root, and with a link what it leads to."""
    place = within(root, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        place.unlink(missing_ok=True)
        place.symlink_to(path.readlink())
        copy(path.parent / path.readlink(), root)
    else:
        copy2(path, place)


def tell_of_packages(files: set[Path], root: Path) -> None:
    """Leave word of the Debian packages that the files are from, where scanners look, and their copyright."""
    stanzas = (DPKG / "status").read_text().split("\n\n")
    status = {stanza.partition("\n")[0].removeprefix("Package: "): stanza for stanza in stanzas}
    for listing in (DPKG / "info").glob("*.list"):
        package = listing.stem.partition(":")[0]
        installed = map(Path, listing.read_text().split("\n"))
        if not any(path.resolve() in files for path in installed if path.suffix != "" or path.is_file()):
            continue
        place = root / "var/lib/dpkg/status.d" / package
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(status[package] + "\n")
        copyright_file = Path("/usr/share/doc", package, "copyright")
        if copyright_file.exists():
            copy(copyright_file, root)


def byte_compile(part: Path, place: Path) -> None:
    """Compile what will lie at the place; held valid whatever sets the files' times, so that no start compiles anew."""
    compileall.compile_dir(
        part,
        quiet=1,
        stripdir=str(part),
        prependdir=str(place),
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
