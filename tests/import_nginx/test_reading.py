"""nginx's files as directives."""

from pathlib import Path

import pytest

from tlsproxy.import_nginx.findings import NotImported
from tlsproxy.import_nginx.reading import read


def test_directives_have_their_place(tmp_path: Path) -> None:
    """Name, arguments, line, and the file where it is another one; comments are none."""
    (tmp_path / "more.conf").write_text("\ngzip on;\n")
    (tmp_path / "nginx.conf").write_text("# c\nserver {\n  listen 443 ssl; # c\n  include more.conf;\n}\n")
    (server,), missing = read(str(tmp_path / "nginx.conf"))
    assert missing == ()
    assert (server.name, server.place, server.block is not None) == ("server", "line 2", True)
    assert [(str(one), one.place) for one in server.block or ()] == [
        ("listen 443 ssl", "line 3"),
        ("gzip on", "more.conf line 2"),
    ]


def test_includes_that_are_not_there(tmp_path: Path) -> None:
    """They are told, but for the kinds of files, which nothing depends on."""
    (tmp_path / "nginx.conf").write_text(
        "include mime.types;\ninclude absent.conf;\ninclude conf.d/*.conf;\ngzip on;\n"
    )
    directives, missing = read(str(tmp_path / "nginx.conf"))
    assert [one.name for one in directives] == ["gzip"]
    assert [(one.args, one.place) for one in missing] == [((str(tmp_path / "absent.conf"),), "line 2")]


def test_programs_are_not_directives(tmp_path: Path) -> None:
    """What stands in a block of Lua is nothing of nginx's."""
    (tmp_path / "nginx.conf").write_text("access_by_lua_block {\n  local key = 'hush'\n}\n")
    (program,), _ = read(str(tmp_path / "nginx.conf"))
    assert (str(program), program.block) == ("access_by_lua_block", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [("server {\n", "nginx.conf"), ("listen 443 }\n", "line 1"), ("hello world", "it ends too early")],
)
def test_what_is_no_configuration(tmp_path: Path, text: str, said: str) -> None:
    """It is refused with the place."""
    (tmp_path / "nginx.conf").write_text(text)
    with pytest.raises(NotImported, match="this is not nginx's configuration") as refused:
        read(str(tmp_path / "nginx.conf"))
    assert said in str(refused.value)


def test_a_file_that_includes_itself(tmp_path: Path) -> None:
    """It is refused, and has an end."""
    (tmp_path / "nginx.conf").write_text("include nginx.conf;\n")
    with pytest.raises(NotImported, match="it includes itself, or is nested too deeply"):
        read(str(tmp_path / "nginx.conf"))


@pytest.mark.parametrize("depth", [990, 3000])
def test_a_file_without_an_end_to_its_depth(tmp_path: Path, depth: int) -> None:
    """It is refused in words of its own and not of the parser's."""
    (tmp_path / "nginx.conf").write_text("a{" * depth + "}" * depth)
    with pytest.raises(NotImported, match="it includes itself, or is nested too deeply"):
        read(str(tmp_path / "nginx.conf"))


def test_comments_beside_a_brace(tmp_path: Path) -> None:
    """They are passed over wherever they stand."""
    (tmp_path / "nginx.conf").write_text("server { listen 443\n# c\n ssl; }\n")
    (server,), _ = read(str(tmp_path / "nginx.conf"))
    assert [str(one) for one in server.block or ()] == ["listen 443 ssl"]


def test_a_file_that_is_not_there() -> None:
    """It is refused with what to name."""
    with pytest.raises(NotImported, match=r"absent\.conf: No such file or directory; name nginx's configuration"):
        read("absent.conf")
