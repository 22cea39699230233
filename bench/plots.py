"""Pictures of results, drawn as SVG with nothing but text."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from bench.targets import SIDES, Results

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = ("#2f6690", "#d1495b", "#edae49", "#66a182", "#8d96a3", "#5f4b8b", "#30638e")
_WIDTH, _LEFT, _ROW, _BAR = 900, 290, 24, 520


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: a label and the parts that are drawn one after the other."""

    label: str
    parts: tuple[tuple[str, float], ...]

    @property
    def total(self) -> float:
        return sum(value for _name, value in self.parts)


@dataclass(frozen=True, slots=True)
class Chart:
    """Rows of bars with a common scale; ``limit`` draws a line."""

    title: str
    unit: str
    bars: tuple[Bar, ...]
    overlay: bool = False
    """Draw the parts over each other, the largest first, instead of one after the other."""

    @property
    def height(self) -> int:
        return 70 + _ROW * len(self.bars)


def draw(charts: Sequence[Chart]) -> str:
    """Return one SVG with the charts below each other."""
    charts = [chart for chart in charts if chart.bars]
    out: list[str] = []
    top = 10
    for chart in charts:
        out.append(_draw_chart(chart, top))
        top += chart.height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" '
        'font-family="system-ui, sans-serif" font-size="12">\n'
        f'<rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>\n' + "\n".join(out) + "\n</svg>\n"
    )


def _draw_chart(chart: Chart, top: int) -> str:
    names = list(dict.fromkeys(name for bar in chart.bars for name, _value in bar.parts))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    largest = max(
        max((value for _name, value in bar.parts), default=0) if chart.overlay else bar.total
        for bar in chart.bars
    )
    scale = _BAR / (largest or 1)
    out = [
        f'<text x="10" y="{top + 18}" font-size="15" font-weight="600">{escape(chart.title)}</text>'
    ]
    left = _LEFT
    for name in names:
        out.append(
            f'<rect x="{left}" y="{top + 28}" width="10" height="10" fill="{colours[name]}"/>'
        )
        out.append(f'<text x="{left + 14}" y="{top + 37}">{escape(name)}</text>')
        left += 30 + 7 * len(name)
    for number, bar in enumerate(chart.bars):
        out += _draw_bar(chart, bar, top + 48 + number * _ROW, scale, colours)
    return "\n".join(out)


def _draw_bar(chart: Chart, bar: Bar, top: int, scale: float, colours: dict[str, str]) -> list[str]:
    out = [f'<text x="{_LEFT - 8}" y="{top + 12}" text-anchor="end">{escape(bar.label)}</text>']
    parts = sorted(bar.parts, key=lambda part: -part[1]) if chart.overlay else bar.parts
    left = float(_LEFT)
    for name, value in parts:
        width = value * scale
        out.append(
            f'<rect x="{left:.1f}" y="{top}" width="{max(width, 0.5):.1f}" height="16" '
            f'fill="{colours[name]}"><title>{escape(name)}: {value:.4g} {chart.unit}</title></rect>'
        )
        left += 0 if chart.overlay else width
    end = _LEFT + (parts[0][1] if chart.overlay else bar.total) * scale
    told = (
        " / ".join(f"{value:.3g}" for _name, value in bar.parts)
        if chart.overlay
        else f"{bar.total:.4g}"
    )
    out.append(f'<text x="{end + 6:.1f}" y="{top + 12}" fill="#444">{told} {chart.unit}</text>')
    return out


def _label(step: Results) -> str:
    kept = "" if step["keep_alive"] else ", new connections"
    return f"{step['workload']}, {step['consumers']}{kept}"


def charts(results: Results) -> list[Chart]:
    """The pictures of one run."""
    at_64: list[Bar] = []
    for system in results["systems"]:
        for step in system["steps"]:
            if (step["workload"], step["consumers"], step["keep_alive"]) == ("get-1k", 64, True):
                for side in SIDES:
                    used = step["used"]["cpu_us"][side]
                    parts = tuple((kind, us) for kind, us in used.items() if us >= 1)
                    at_64.append(Bar(f"{system['name']}: {side}", parts))
    main = results["systems"][0]
    labels = [(_label(step), step) for step in main["steps"]]
    latency = tuple(
        Bar(label, tuple((name, step["load"][f"{name}_ms"]) for name in ("p99", "p95", "p50")))
        for label, step in labels
    )
    rate = tuple(Bar(label, (("exchanges", step["load"]["per_second"]),)) for label, step in labels)
    return [
        Chart("CPU per exchange, GET 1 kB, 64 consumers", "µs", tuple(at_64)),
        Chart(f"Exchanges per second, by consumers ({main['name']})", "/s", rate),
        Chart(f"Latency, by consumers ({main['name']})", "ms", latency, overlay=True),
    ]
