"""SVG in our few shapes and colours, which follow the reader's light or dark."""

from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape, quoteattr

LIGHT = {
    "page": "#f4f5f7", "card": "#ffffff", "edge": "#dcdfe4", "grid": "#eceef1", "ink": "#1d2530",
    "dim": "#5b6675", "green": "#1e8449", "orange": "#c9710c", "red": "#c62f2f", "text": "#7b8794",
    "blue": "#2f6fd0", "p0": "#2f6fd0", "p1": "#b8860b", "p2": "#7a4fc4", "p3": "#0e8a8a",
    "p4": "#c2418f", "p5": "#6b7f1f", "p6": "#d1603d", "p7": "#4d5f7a",
}  # fmt: skip
DARK = {
    "page": "#111418", "card": "#191d23", "edge": "#2d343d", "grid": "#262c34", "ink": "#e4e8ee",
    "dim": "#98a3b1", "green": "#53b978", "orange": "#f0a040", "red": "#f2605c", "text": "#8a95a3",
    "blue": "#6ea4f5", "p0": "#6ea4f5", "p1": "#e0b83c", "p2": "#ab8bee", "p3": "#44c2c0",
    "p4": "#ec7fc0", "p5": "#b3c84e", "p6": "#f59272", "p7": "#9fb0c9",
}  # fmt: skip
PALETTE = 8
NARROW, WIDE = set("iljtf.,:;|'()/ "), set("mwMW%@—…")


def style() -> str:
    """The sheet that all pictures have."""

    def named(colours: Mapping[str, str]) -> str:
        return ";".join(f"--{name}:{value}" for name, value in colours.items())

    fills = "".join(f".f-{n}{{fill:var(--{n})}}.l-{n}{{stroke:var(--{n})}}" for n in LIGHT)
    return (
        f"<style>:root{{{named(LIGHT)}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{named(DARK)}}}}}"
        "text{font-family:system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
        "path{fill:none;stroke-width:1.5;stroke-linejoin:round}path.a{stroke:none;fill-opacity:.3}"
        f".d{{stroke-dasharray:5 4}}.b{{font-weight:600}}{fills}</style>"
    )


def text(
    x: float, y: float, words: str, *, size: float = 11, fill: str = "ink",
    bold: bool = False, at: str = "start", room: float | None = None,
) -> str:  # fmt: skip
    """A line of text, cut to the room that it has."""
    if room is not None:
        words = fitted(words, size, room, bold)
    anchor = "" if at == "start" else f' text-anchor="{at}"'
    heavy = " b" if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" class="f-{fill}{heavy}"{anchor}>'
        f"{escape(words)}</text>"
    )


def fitted(words: str, size: float, room: float, bold: bool = False) -> str:
    """The words, or their beginning and an ellipsis."""
    if wide(words, size, bold) <= room:
        return words
    while words and wide(f"{words}…", size, bold) > room:
        words = words[:-1]
    return f"{words.rstrip()}…"


def wide(words: str, size: float, bold: bool = False) -> float:
    """About how wide the words are, in the widest of the usual fonts."""
    ems = sum(
        0.36 if glyph in NARROW else 0.92 if glyph in WIDE else 0.68 if glyph.isupper() else 0.61
        for glyph in words
    )
    return ems * size * (1.1 if bold else 1)


def box(x: float, y: float, w: float, h: float, fill: str, edge: str = "", r: float = 0) -> str:
    """A rectangle, with round corners."""
    line = f' stroke="var(--{edge})"' if edge else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{r:g}"'
        f' class="f-{fill}"{line}/>'
    )


def line(x1: float, y1: float, x2: float, y2: float, colour: str, dashed: bool = False) -> str:
    """A straight line."""
    more = " d" if dashed else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="l-{colour}{more}"/>'
    )


Point = tuple[float, float]


def path(parts: Iterable[list[Point]], colour: str) -> str:
    """Lines through points, a new one for each part."""
    drawn = "".join(_through(part) for part in parts if part)
    return f'<path d="{drawn}" class="l-{colour}"/>' if drawn else ""


def area(top: list[Point], bottom: list[Point], colour: str) -> str:
    """What lies between two lines."""
    if not top:
        return ""
    return f'<path d="{_through(top)}{_on(bottom[::-1])}Z" class="a f-{colour}"/>'


def page(width: float, height: float, title: str, body: Iterable[str]) -> str:
    """The whole document."""
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label={quoteattr(title)}>'
        f"{style()}{box(0, 0, width, height, 'page')}\n" + "\n".join(body) + "\n</svg>\n"
    )


def _through(points: list[Point]) -> str:
    x, y = points[0]
    if len(points) == 1:  # a lone point is a short dash
        return f"M{x - 1:.1f} {y:.1f}h2"
    return f"M{x:.1f} {y:.1f}{_on(points[1:])}"


def _on(points: list[Point]) -> str:
    """Through points, those left out that lie level between their neighbours."""
    kept = [
        point
        for place, point in enumerate(points)
        if place in (0, len(points) - 1)
        or not abs(points[place - 1][1] - point[1]) < 0.05 > abs(points[place + 1][1] - point[1])
    ]
    return "".join(f"L{x:.1f} {y:.1f}" for x, y in kept)
