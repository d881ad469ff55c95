"""Pictures are well-formed and say what they were given."""

from xml.etree import ElementTree as ET

import pytest

from bench.pictures import Bar, Curve, Group, Panel, bars, curves, lines, over_time

SVG = "{http://www.w3.org/2000/svg}"


def parsed(picture: str) -> ET.Element:
    return ET.fromstring(picture)  # noqa: S314 (made by ourselves a moment ago)


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in parsed(picture).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    "groups",
    [
        [],
        [Group("", [])],
        [Group("a & b", [Bar("<x>", 0, "0"), Bar("y", 2.5, "2.50", ours=True, low=2, high=3)])],
        [Group("one", [Bar("x", 1, "1")]), Group("two", [Bar("x", 2, "2")])],
    ],
)
def test_bars_are_well_formed(groups: list[Group]) -> None:
    """Whatever the labels are, with nothing to show too; each bar has its rectangle."""
    picture = bars("title", "subtitle", groups, mark=1.0)
    wanted = [bar for group in groups for bar in group.bars]
    assert len(list(parsed(picture).iter(f"{SVG}rect"))) == len(wanted)
    assert {bar.label for bar in wanted} <= set(texts(picture))


def test_bars_have_one_scale() -> None:
    """Twice the value is twice the length, and nothing reaches beyond the picture."""
    root = parsed(bars("", "", [Group("", [Bar("x", 10, "10"), Bar("y", 20, "20", low=15, high=30)])]))
    short, long = (float(each.attrib["width"]) for each in root.iter(f"{SVG}rect"))
    assert long == pytest.approx(2 * short, rel=0.01)
    assert max(float(each.attrib.get("x", 0)) for each in root.iter()) < float(root.attrib["viewBox"].split()[2])


@pytest.mark.parametrize(
    "drawn",
    [
        [],
        [Curve("empty", [])],
        [Curve("a", [(0, 80), (50, 100), (99, 1000), (99.99, 20_000)]), Curve("b & c", [(0, 0.5), (99.9, 7)])],
    ],
)
def test_curves_are_well_formed(drawn: list[Curve]) -> None:
    """With nothing to show too; every curve is named."""
    picture = curves("title", "subtitle", drawn)
    assert {curve.label for curve in drawn} <= set(texts(picture))


@pytest.mark.parametrize(
    ("points", "marks"),
    [
        ([], {"0", "1", "2", "3", "4"}),
        ([(0, 50.0), (1_000_000, 53.0)], {"0", "20", "40", "60", "80", "250,000", "1,000,000"}),
    ],
)
def test_lines_begin_at_nothing(points: list[tuple[float, float]], marks: set[str]) -> None:
    """Both scales do, so that what hardly grows looks like it; with nothing to show it is a picture too."""
    assert marks <= set(texts(lines("title", "subtitle", [Curve("a", points)])))


@pytest.mark.parametrize("points", [[], [(0, 0)], [(1, 40), (2, 60), (300, 50)]])
def test_panels_are_well_formed(points: list[tuple[float, float]]) -> None:
    """With nothing to show too; every panel is named, and has its highest value at its scale's end."""
    shown = texts(over_time("title", "subtitle", [Panel("a & b", points), Panel("c", [(0, 7)])]))
    assert {"a & b", "c", "7"} <= set(shown)


def test_both_grounds_are_thought_of() -> None:
    """What is drawn for a light page has other colours on a dark one."""
    assert "prefers-color-scheme: dark" in bars("", "", [])
