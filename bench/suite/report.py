"""Tables for people, and a plot.

A table is a dict: `title`, `unit`, `columns`, `rows` (name and cells), `notes`; a cell is a number, a text or None. Where
something is followed over time it has `series`, too: its name and unit, and pairs of seconds and values.
"""

from html import escape


def _cell(value) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def text(table: dict) -> str:
    rows = [["", *table["columns"]]] + [[name, *map(_cell, cells)] for name, cells in table["rows"]]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = [f"\n{table['title']}"]
    for row in rows:
        lines.append("  " + "  ".join(cell.ljust(width) if n == 0 else cell.rjust(width) for n, (cell, width) in enumerate(zip(row, widths))))
    return "\n".join(lines + [f"  {note}" for note in table.get("notes", [])])


def markdown(about: dict, tables: list[dict]) -> str:
    lines = [f"Measured on {about['date']} at revision {about['revision']}: {about['machine']}; {about['rounds']} interleaved rounds of {about['seconds']:g} seconds."]
    for table in tables:
        lines += ["", f"### {table['title']}", "", *grid(table["columns"], table["rows"])]
        lines += ["", *table.get("notes", [])] if table.get("notes") else []
    return "\n".join(lines) + "\n"


def grid(columns: list[str], rows: list) -> list[str]:
    """The lines of a table."""
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    return lines + [f"| {name} | " + " | ".join(map(_cell, cells)) + " |" for name, cells in rows]


def plot(about: dict, tables: list[dict]) -> str:
    """A bar for each row of each table, by its first column of numbers; ours is the dark one. A line for what is followed."""
    bar, gap, left, width = 16, 4, 190, 760
    parts, y = [], 10
    for table in tables:
        if "series" in table:
            y = _line(parts, table, y, width)
            continue
        values = [(name, next((cell for cell in cells if isinstance(cell, (int, float))), None)) for name, cells in table["rows"]]
        values = [(name, value) for name, value in values if value is not None]
        if not values:
            continue
        most = max(value for _, value in values) or 1
        y += 24
        parts.append(f'<text x="0" y="{y - 6}" class="t">{escape(table["title"])}, {escape(table["columns"][0])}</text>')
        for name, value in values:
            ours = "ours" if name.startswith("alyx-proxy") else "other"
            length = (width - left - 70) * value / most
            parts.append(f'<text x="{left - 6}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
            parts.append(f'<rect class="{ours}" x="{left}" y="{y}" width="{length:.1f}" height="{bar}"/>')
            parts.append(f'<text x="{left + length + 5:.1f}" y="{y + 12}">{_cell(value)}</text>')
            y += bar + gap
    style = ".line{fill:none;stroke:#1d6fb8;stroke-width:2}.axis{stroke:#b9c4ce}text{font:12px sans-serif;fill:#333}.t{font-weight:bold}.ours{fill:#1d6fb8}.other{fill:#b9c4ce}"
    date = escape(f"{about['date']}, {about['revision']}, {about['machine']}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 30}" width="{width}"><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}<text x="0" y="{y + 22}">{date}</text></svg>\n'
    )


def _line(parts: list[str], table: dict, y: int, width: int) -> int:
    """Draws what was followed over time, from zero on; how far down the plot goes then."""
    left, height = 60, 160
    name, points = table["series"]
    last, most = max(at for at, _ in points), max(value for _, value in points) or 1
    y += 24
    parts.append(f'<text x="0" y="{y - 6}" class="t">{escape(table["title"])}</text>')
    y += 18
    parts.append(f'<text x="0" y="{y - 4}">{escape(name)}</text>')
    place = " ".join(f"{left + (width - left - 10) * at / last:.1f},{y + height * (1 - value / most):.1f}" for at, value in points)
    parts.append(f'<path class="axis" d="M{left} {y}V{y + height}H{width - 10}" fill="none"/><polyline class="line" points="{place}"/>')
    for value, at in ((most, y + 10), (0, y + height)):
        parts.append(f'<text x="{left - 6}" y="{at}" text-anchor="end">{_cell(float(value))}</text>')
    parts.append(f'<text x="{left}" y="{y + height + 16}">0 s</text>')
    parts.append(f'<text x="{width - 10}" y="{y + height + 16}" text-anchor="end">{last:.0f} s</text>')
    return y + height + 24
