# SPDX-License-Identifier: Apache-2.0
"""results.svg: bars of wall and CPU time, and how a run grows with its node. Plain SVG, no library."""
import math
from html import escape

WIDTH, LEFT, RIGHT, ROW, TOP = 900, 250, 70, 30, 56
COLORS = {"client": "#3b6ea5", "server": "#a9c4e0", "wall": "#d98032", "ink": "#222222", "faint": "#8a8a8a", "grid": "#e3e3e3"}
LINES = (("file", "no change", "#7fb069"), ("file", "3 changed", "#2f6b2f"), ("Ceph", "no change", "#e0a96d"), ("Ceph", "3 changed", "#a8501c"))


class Canvas:
    def __init__(self):
        self.parts, self.height = [], 0

    def text(self, x, y, words, size=12, anchor="start", fill="ink", weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{COLORS.get(fill, fill)}"'
                          f' font-weight="{weight}">{escape(words)}</text>')

    def box(self, x, y, width, height, fill):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height}" fill="{COLORS.get(fill, fill)}"/>')

    def line(self, x1, y1, x2, y2, stroke="grid", width=1, dashes=""):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{COLORS.get(stroke, stroke)}" stroke-width="{width}"'
                          + (f' stroke-dasharray="{dashes}"' if dashes else "") + "/>")

    def dot(self, x, y, fill):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{fill}"/>')

    def text_of(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height:.0f}" width="{WIDTH}" height="{self.height:.0f}"'
                ' font-family="Helvetica, Arial, sans-serif">\n'
                f'<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(self.parts) + "\n</svg>\n")


def step_of(top):
    """A round step that gives four to eight marks."""
    base = 10 ** math.floor(math.log10(top / 4))
    return next(base * k for k in (1, 2, 5, 10) if top / (base * k) <= 8)


def bars(canvas, table, groups, cores):
    """Each row: wall time above, below it CPU time of both sides divided by the cores: equal lengths mean that no core waited."""
    found = [(name, [row for row in rows if row in table.rows]) for name, rows in groups]
    every = [row for _, rows in found for row in rows]
    if not every:
        return
    top = max(table.median(row, "wall") for row in every) * 1.02
    scale = (WIDTH - LEFT - RIGHT) / top
    y = TOP
    canvas.text(20, 24, "Seconds, median of the rounds", 15, weight="bold")
    for i, (color, label) in enumerate((("wall", "wall"), ("client", f"client CPU / {cores}"), ("server", f"server CPU / {cores}"))):
        canvas.box(LEFT + 60 + i * 140, 14, 12, 12, color)
        canvas.text(LEFT + 78 + i * 140, 24, label)
    bottom = TOP + sum(22 + ROW * len(rows) for _, rows in found if rows)
    step = step_of(top)
    for i in range(int(top / step) + 1):
        x = LEFT + i * step * scale
        canvas.line(x, TOP - 6, x, bottom)
        canvas.text(x, TOP - 12, f"{i * step:g}", 10, "middle", "faint")
    for name, rows in found:
        if not rows:
            continue
        canvas.text(20, y + 14, name, 12, weight="bold")
        y += 22
        for row in rows:
            wall, cpu, server = (table.median(row, key) for key in ("wall", "cpu", "server"))
            canvas.text(LEFT - 8, y + 15, row.rsplit(" (", 1)[0] if row.endswith(")") else row, 11, "end")
            canvas.box(LEFT, y + 2, wall * scale, 10, "wall")
            canvas.box(LEFT, y + 13, cpu / cores * scale, 8, "client")
            canvas.box(LEFT + cpu / cores * scale, y + 13, server / cores * scale, 8, "server")
            canvas.text(LEFT + max(wall, (cpu + server) / cores) * scale + 5, y + 15, f"{wall:.2f} s", 10, fill="faint")
            y += ROW
    canvas.height = y + 16


def growth(canvas, table, sizes):
    """Three panels over the size of the node, logarithmic: wall, requests, bytes."""
    top = canvas.height + 40
    panels = (("wall", "wall, s"), ("requests", "requests"), ("stored", "bytes sent"))
    width, height, gap = 215, 190, 75
    series = [(f"{store}, {kind}", color, [(size, f"{size:,} chunks, {kind} ({store})") for size in sizes]) for store, kind, color in LINES]
    series = [(label, color, [(s, row) for s, row in points if row in table.rows]) for label, color, points in series]
    series = [line for line in series if line[2]]
    if not series:
        return
    canvas.text(20, top - 14, "A run over the chunks of the node (both axes logarithmic)", 15, weight="bold")
    for i, (label, color, _) in enumerate(series):
        canvas.line(60 + i * 160, top + 8, 80 + i * 160, top + 8, color, 2.5)
        canvas.text(86 + i * 160, top + 12, label, 11)
    top += 48
    for i, (key, title) in enumerate(panels):
        x0 = 60 + i * (width + gap)
        values = [table.median(row, key) for _, _, points in series for _, row in points]
        low, high = math.floor(math.log10(max(min(values), 0.01))), math.ceil(math.log10(max(max(values), 0.011)))
        high = max(high, low + 1)

        def place(size, value, x0=x0, low=low, high=high):
            x = x0 + (math.log10(size / sizes[0]) / max(math.log10(sizes[-1] / sizes[0]), 0.1)) * width
            return x, top + height * (1 - (math.log10(max(value, 10 ** low)) - low) / (high - low))
        for power in range(low, high + 1):
            _, y = place(sizes[0], 10 ** power)
            canvas.line(x0, y, x0 + width, y)
            canvas.text(x0 - 5, y + 4, f"{10 ** power:,}" if power >= 0 else f"{10 ** power:g}", 10, "end", "faint")
        for size in sizes:
            canvas.text(place(size, 1)[0], top + height + 16, f"{size:,}", 10, "middle", "faint")
        canvas.text(x0, top - 8, title, 12, weight="bold")
        for label, color, points in series:
            dashes = "6 4" if label.startswith("Ceph") else ""      # often it lies on the directory's
            spots = [place(size, table.median(row, key)) for size, row in points]
            for (x1, y1), (x2, y2) in zip(spots, spots[1:]):
                canvas.line(x1, y1, x2, y2, color, 2, dashes)
            for x, y in spots:
                canvas.dot(x, y, color)
    canvas.height = top + height + 34


def draw(table, groups, sizes, cores):
    canvas = Canvas()
    bars(canvas, table, groups, cores)
    growth(canvas, table, sizes)
    return canvas.text_of()
