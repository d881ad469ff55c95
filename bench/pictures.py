"""Pictures as SVG by string templates: bars in groups, curves over percentiles and over time, lines.

Readable on light and dark ground. Knows numbers and labels, and nothing of a bench.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 820
LEFT, RIGHT = 190, 120
BAR, STEP, GROUP = 15, 20, 34
TOP = 62

STYLE = """
    text { fill: #1f2328; font-size: 13px }
    .title { font-size: 16px; font-weight: 600 } .group { font-weight: 600 } .faint { fill: #57606a; font-size: 12px }
    .end { text-anchor: end } .middle { text-anchor: middle }
    .bar { fill: #afb8c1 } .ours { fill: #0969da } .whisker { stroke: #57606a; stroke-width: 1.2 }
    .line { stroke: #d0d7de; stroke-width: 1 } .mark { stroke: #57606a; stroke-width: 1.2; stroke-dasharray: 4 3 }
    .curve { fill: none; stroke-width: 2 }
    .s0 { stroke: #0969da } .s1 { stroke: #57606a } .s2 { stroke: #1a7f37 } .s3 { stroke: #bc4c00 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc } .faint { fill: #9198a1 } .bar { fill: #57606a } .ours { fill: #4493f8 }
      .whisker { stroke: #d1d7e0 } .line { stroke: #3d444d } .mark { stroke: #9198a1 }
      .s0 { stroke: #4493f8 } .s1 { stroke: #9198a1 } .s2 { stroke: #3fb950 }
      .s3 { stroke: #f0883e }
    }
"""


@dataclass(frozen=True)
class Bar:
    """One bar: its label, how long it is, the text at its end, whether it stands out, and how far the rounds spread."""

    label: str
    value: float
    text: str
    ours: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Group:
    """Bars under a heading; without one they stand close to those before."""

    heading: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Curve:
    """Values at places that ascend: for `curves` percentiles below 100, for `lines` any from 0 on."""

    label: str
    points: Sequence[tuple[float, float]]


def bars(title: str, subtitle: str, groups: Sequence[Group], *, mark: float | None = None) -> str:
    """Bars in groups, all on one scale from 0; `mark`: a line at that value."""
    longest = max((max(bar.value, bar.high or 0) for group in groups for bar in group.bars), default=1) or 1
    scale = (WIDTH - LEFT - RIGHT) / longest
    drawn, y = [], TOP
    for group in groups:
        if group.heading:
            drawn.append(_text(20, y + 14, group.heading, "group"))
            y += 24
        for bar in group.bars:
            drawn += _bar(bar, y, scale)
            y += STEP
        y += GROUP - 24 if group.heading else 0
    if mark is not None:
        x = LEFT + mark * scale
        drawn.append(f'<path class="mark" d="M{x:.1f} {TOP - 6}V{y}"/>')
    return _picture(title, subtitle, drawn, y + 10)


def _bar(bar: Bar, y: float, scale: float) -> list[str]:
    width, middle = max(1.0, bar.value * scale), y + BAR / 2
    drawn = [
        _text(LEFT - 8, y + 12, bar.label, "end"),
        f'<rect class="{"ours" if bar.ours else "bar"}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>',
    ]
    end = width
    if bar.low is not None and bar.high is not None:
        low, high = LEFT + bar.low * scale, LEFT + bar.high * scale
        drawn.append(f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}"/>')
        end = max(width, bar.high * scale)
    return [*drawn, _text(LEFT + end + 8, y + 12, bar.text)]


def curves(title: str, subtitle: str, drawn_curves: Sequence[Curve]) -> str:
    """Microseconds over percentiles: each further nine as wide as the one before, the values on a logarithmic scale."""
    values = [value for curve in drawn_curves for _, value in curve.points if value > 0]
    low, high = (math.floor(math.log10(min(values, default=1))), math.ceil(math.log10(max(values, default=10))))
    high = max(high, low + 1)
    nines = max((_nines(percentile) for curve in drawn_curves for percentile, _ in curve.points), default=1)
    left, top, width, height = 70, TOP, WIDTH - 100, 260

    def place(percentile: float, value: float) -> str:
        x = left + _nines(percentile) / nines * width
        y = top + height - (math.log10(max(value, 10**low)) - low) / (high - low) * height
        return f"{x:.1f} {y:.1f}"

    drawn = []
    for power in range(low, high + 1):
        y = top + height - (power - low) / (high - low) * height
        drawn += [
            f'<path class="line" d="M{left} {y:.1f}h{width}"/>',
            _text(left - 8, y + 4, _duration(10**power), "end faint"),
        ]
    for percentile in (0.0, 50.0, 90.0, 99.0, 99.9, 99.99):
        if _nines(percentile) <= nines:
            x = left + _nines(percentile) / nines * width
            drawn.append(_text(x, top + height + 18, f"{percentile:g} %", "middle faint"))
    drawn += _drawn(drawn_curves, place, top + height + 44)
    return _picture(title, subtitle, drawn, top + height + 44 + 20 * len(drawn_curves))


def lines(title: str, subtitle: str, drawn_curves: Sequence[Curve]) -> str:
    """Values over places, both on scales that begin at 0, each with five marks."""
    points = [point for curve in drawn_curves for point in curve.points]
    last = max((place for place, _ in points), default=0) or 1
    step = _round_up(max((value for _, value in points), default=0) / 4 or 1)
    left, top, width, height = 70, TOP, WIDTH - 130, 260

    def place(where: float, value: float) -> str:
        return f"{left + where / last * width:.1f} {top + height - value / (4 * step) * height:.1f}"

    drawn = []
    for mark in range(5):
        x, y = left + mark / 4 * width, top + height - mark / 4 * height
        drawn += [
            f'<path class="line" d="M{left} {y:.1f}h{width}"/>',
            _text(left - 8, y + 4, f"{mark * step:g}", "end faint"),
            _text(x, top + height + 18, f"{mark * last / 4:,.0f}", "middle faint"),
        ]
    drawn += _drawn(drawn_curves, place, top + height + 44)
    return _picture(title, subtitle, drawn, top + height + 44 + 20 * len(drawn_curves))


def _drawn(drawn_curves: Sequence[Curve], place: Callable[[float, float], str], legend: float) -> list[str]:
    """The curves, and below them which is which."""
    drawn = []
    for number, curve in enumerate(drawn_curves):
        y = legend + 20 * number
        path = "L".join(place(*point) for point in curve.points)
        drawn += [
            f'<path class="curve s{number % 4}" d="M{path}"/>',
            f'<path class="curve s{number % 4}" d="M70 {y - 4}h26"/>',
            _text(106, y, curve.label),
        ]
    return drawn


def _round_up(value: float) -> float:
    """1, 2 or 5 times a power of ten, the next that is not below it."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= value)


@dataclass(frozen=True)
class Panel:
    """A value over time: what it is, and points of seconds and value, the seconds ascending."""

    label: str
    points: Sequence[tuple[float, float]]


PANEL, PANEL_STEP = 64, 96


def over_time(title: str, subtitle: str, panels: Sequence[Panel]) -> str:
    """Panels one below the other over the same time, each on a scale of its own from 0."""
    left, width = 70, WIDTH - 100
    end = max((seconds for panel in panels for seconds, _ in panel.points), default=1) or 1
    drawn = []
    for number, panel in enumerate(panels):
        bottom = TOP + 24 + PANEL + number * PANEL_STEP
        highest = max((value for _, value in panel.points), default=1) or 1
        places = [f"{left + x / end * width:.1f} {bottom - y / highest * PANEL:.1f}" for x, y in panel.points]
        drawn += [
            _text(left, bottom - PANEL - 8, panel.label, "group"),
            f'<path class="line" d="M{left} {bottom}h{width}M{left} {bottom - PANEL}h{width}"/>',
            _text(left - 8, bottom - PANEL + 4, f"{highest:.4g}", "end faint"),
            _text(left - 8, bottom + 4, "0", "end faint"),
        ]
        if places:
            drawn.append(f'<path class="curve s0" d="M{"L".join(places)}"/>')
    bottom = TOP + 24 + PANEL + (len(panels) - 1) * PANEL_STEP
    drawn += [_text(left, bottom + 18, "0", "middle faint"), _text(left + width, bottom + 18, _span(end), "end faint")]
    return _picture(title, subtitle, drawn, bottom + 30)


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _duration(microseconds: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:g} {unit}"
    return f"{microseconds:g} us"


def _nines(percentile: float) -> float:
    """0 for the smallest, 1 at 90 %, 2 at 99 %."""
    return -math.log10(1 - percentile / 100)


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _picture(title: str, subtitle: str, drawn: Sequence[str], height: float) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"',
            '  role="img" aria-labelledby="title" font-family="system-ui, sans-serif">',
            f'  <title id="title">{escape(title)}</title>',
            f"  <style>{STYLE}  </style>",
            f"  {_text(20, 26, title, 'title')}",
            f"  {_text(20, 46, subtitle, 'faint')}",
            *(f"  {one}" for one in drawn),
            "</svg>",
            "",
        ]
    )
