# SPDX-License-Identifier: Apache-2.0
"""perf/results.svg: how many times as good Troupe is, by case and peer, on a logarithmic scale. Pure: data in, text
out. Colours come from a style sheet with a dark half, so that the picture suits the page it is on."""
import math
from html import escape

from cases import TROUPE
from figures import Series, collect, ratio, short

LEFT, WIDTH, RIGHT = 150, 560, 90  # of names, of bars, of figures
TOP, BAR, GAP, CASE_GAP = 76, 9, 1, 12
MOST_DECADES = 5  # what is beyond is cut off, and its figure says so

STYLE = """
.page { fill: #ffffff } .text { fill: #1f2328 } .faint { fill: #59636e } .grid { stroke: #d1d9e0 }
.one { stroke: #1f2328 } .need { stroke: #cf222e }
.c0 { fill: #2f6fb5 } .c1 { fill: #8fb8de } .c2 { fill: #c2621b } .c3 { fill: #8a4fa8 } .c4 { fill: #1f8a70 }
.c5 { fill: #6e7781 }
text { font: 11px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
.title { font-size: 15px; font-weight: 600 } .small { font-size: 9px }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 } .text { fill: #e6edf3 } .faint { fill: #9198a1 } .grid { stroke: #3d444d }
.one { stroke: #e6edf3 } .need { stroke: #ff7b72 }
.c0 { fill: #4f94e0 } .c1 { fill: #a8cdf0 } .c2 { fill: #e58a45 } .c3 { fill: #b584d1 } .c4 { fill: #3fb594 }
.c5 { fill: #9198a1 }
}
"""


def groups(data, cases):
    """Cases with their bars: (case, [(peer, ratio)]); those that nobody can be compared in are left out."""
    series, found = collect(data["runs"]), []
    peers = [runtime for runtime in data["runtimes"] if runtime != TROUPE]
    for case in cases:
        ours = series.get((case.name, TROUPE), Series()).median(case.name)
        bars = []
        for peer in peers:
            value = ratio(ours, series.get((case.name, peer), Series()).median(case.name), case.less)
            if value is not None:
                bars.append((peer, value))
        if bars:
            found.append((case, bars))
    return found, peers


def scale(found):
    """The powers of ten that the bars lie between."""
    values = [v for _, bars in found for _, v in bars if 0 < v < math.inf]
    values += [case.required for case, _ in found if case.required]
    low = min(0, math.floor(math.log10(min(values, default=1))))
    high = max(1, math.ceil(math.log10(max(values, default=10))))
    return max(low, -MOST_DECADES), min(high, MOST_DECADES)


def place(value, low, high):
    """Where on the scale, in pixels; what lies beyond is at its end."""
    if value <= 0:
        return LEFT
    if math.isinf(value):
        return LEFT + WIDTH
    share = (math.log10(value) - low) / (high - low)
    return LEFT + WIDTH * min(max(share, 0), 1)


def text(x, y, content, kind="text", anchor="start"):
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def line(x1, y1, x2, y2, kind, more=""):
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{more}/>'


def legend(peers):
    parts, x = [], LEFT
    for i, peer in enumerate(peers):
        parts.append(f'<rect class="c{i % 6}" x="{x}" y="35" width="10" height="10"/>')
        parts.append(text(x + 14, 44, peer))
        x += 28 + 7 * len(peer)
    parts.append(line(x, 34, x, 46, "need", ' stroke-width="2"'))
    parts.append(text(x + 5, 44, "required"))
    return parts


def grid(low, high, bottom):
    parts = []
    for decade in range(low, high + 1):
        x = place(10.0**decade, low, high)
        parts.append(line(x, TOP - 8, x, bottom, "one" if decade == 0 else "grid"))
        parts.append(text(x, TOP - 12, f"{10.0**decade:g} ×", "faint", "middle"))
    return parts


def bars_of(case, bars, colours, y, low, high):
    parts, zero = [text(LEFT - 8, y + len(bars) * (BAR + GAP) / 2 + 3, case.name, "text", "end")], place(1, low, high)
    top = y
    for peer, value in bars:
        end = place(value, low, high)
        x, width = min(zero, end), max(abs(end - zero), 1)
        parts.append(f'<rect class="c{colours[peer] % 6}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}">'
                     f"<title>{escape(case.name)}: {short(value)} times as good as {escape(peer)}</title></rect>")
        parts.append(text(max(zero, end) + 4, y + BAR - 1, short(value), "faint small"))
        y += BAR + GAP
    if case.required:
        x = place(case.required, low, high)
        parts.append(line(x, top - 2, x, y + 1, "need", ' stroke-width="2"'))
    return parts, y


def render(data, cases):
    found, peers = groups(data, cases)
    low, high = scale(found)
    height = TOP + sum(len(bars) * (BAR + GAP) + CASE_GAP for _, bars in found) + 24
    width = LEFT + WIDTH + RIGHT
    colours = {peer: i for i, peer in enumerate(peers)}
    parts, y = grid(low, high, height - 24), TOP
    for case, bars in found:
        drawn, y = bars_of(case, bars, colours, y, low, high)
        parts += drawn
        y += CASE_GAP
    heading = [text(12, 22, "How many times as good Troupe is (right of 1 ×: Troupe is better)", "text title")]
    source = f"medians of {data['rounds']} rounds, {data['workers']} workers; {data['date']}"
    foot = [text(12, height - 8, source, "faint")]
    body = "\n".join(heading + legend(peers) + parts + foot)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return (f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
            f'role="img" aria-label="Ratios of Troupe to its peers">\n<!-- SPDX-License-Identifier: Apache-2.0 -->\n'
            f'<style>{STYLE}</style>\n<rect class="page" width="100%" height="100%" rx="6"/>\n{body}\n</svg>\n')
