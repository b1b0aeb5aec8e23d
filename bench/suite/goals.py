"""What the ratios are to be: ours to another's CPU time for each request, in one run."""

import json
from dataclasses import dataclass
from pathlib import Path

# What `--quick` measures.
QUICK = ("hits", "one", "disk", "misses", "mirrored")
# A ratio that has changed by more than this against the stored results is named.
CHANGE = 0.1


@dataclass
class Goal:
    """At most this, in the tables of a case whose title begins so."""

    case: str
    title: str
    contender: str
    most: float


GOALS = [
    Goal("hits", "1 KB from memory, 32", "nginx", 0.6),
    Goal("hits", "10 KB from memory, 32", "nginx", 0.6),
    Goal("hits", "100 KB from memory, 32", "nginx", 0.75),
    Goal("one", "10 KB", "nginx, gzip on", 0.45),
    Goal("one", "10 KB", "nginx, gzip stored", 0.95),
    Goal("one", "250 sessions", "nginx, gzip on", 0.45),
    Goal("one", "250 sessions", "nginx, gzip stored", 0.95),
    Goal("disk", "1 KB", "nginx", 1.0),
    Goal("disk", "10 KB", "nginx", 1.0),
    Goal("disk", "100 KB", "nginx", 1.5),
    Goal("disk", "100 KB", "nginx, sendfile off", 1.0),
    Goal("disk", "3 MB", "nginx", 2.5),
    Goal("disk", "3 MB", "nginx, sendfile off", 1.3),
    Goal("misses", "New questions, 1 connection", "nginx", 1.3),
    Goal("misses", "New questions, 16 connections", "nginx", 1.2),
    Goal("mirrored", "", "alyx-proxy, stored", 1.05),
]


def of_table(case: str, table: dict) -> list[Goal]:
    """The goals of a table whose contenders took part."""
    ratios = table.get("ratios", {})
    return [goal for goal in GOALS if goal.case == case and table["title"].startswith(goal.title) and goal.contender in ratios]


def told(case: str, table: dict, stored: Path) -> tuple[list[str], list[str]]:
    """Lines that say how far each goal is, and what was missed: in each of the rounds, which is more than noise."""
    lines, missed = [], []
    for goal in of_table(case, table):
        ratios = sorted(table["ratios"][goal.contender])
        median = ratios[len(ratios) // 2]
        is_missed = ratios[0] > goal.most
        line = f"{table['title']}: {median:.2f} of {goal.contender} ({ratios[0]:.2f} to {ratios[-1]:.2f}), goal {goal.most:g}"
        before = _stored(case, table["title"], goal.contender, stored)
        if before and abs(median / before - 1) > CHANGE:
            line += f", was {before:.2f}"
        lines.append(f"{line}: {'MISSED' if is_missed else 'reached' if median <= goal.most else 'within noise'}")
        if is_missed:
            missed.append(line)
    return lines, missed


def _stored(case: str, title: str, contender: str, folder: Path) -> float | None:
    """The ratio in the stored results."""
    try:
        tables = json.loads((folder / f"{case}.json").read_text())["tables"]
    except (OSError, ValueError):
        return None
    for table in tables:
        if table["title"] == title and "ours / theirs" in table["columns"]:
            at = table["columns"].index("ours / theirs")
            return next((cells[at] for name, cells in table["rows"] if name == contender), None)
    return None
