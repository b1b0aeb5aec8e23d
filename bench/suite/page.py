"""Puts the figures of `bench/results/` into the documentation: what lies between two marks is written anew."""

import json
from pathlib import Path

from .machine import ROOT
from .report import grid

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
NAMES = ["alyx-proxy", "nginx", "nginx, sendfile off", "Varnish", "Squid", "bare hyper"]

# Median milliseconds of a real Alyx 3.6.1 (2 workers, PostgreSQL, 4,495 sessions) on a machine of this kind.
ALYX = {
    "sessions": 94, "sessions?limit=1000": 324, "sessions?performance_gte=70&task_protocol=ephys": 105,
    "sessions/{session}": 226, "datasets?session={session}": 84, "datasets": 389, "trajectories?x=953.7&y=-1533.4": 25,
    "trajectories": 700, "insertions": 916, "subjects": 984, "subjects?lab={lab}&sex=F&alive=True": 50, "channels": 176,
}


def _load(name: str) -> dict:
    return json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text())


def _table(columns: list[str], rows: list) -> list[str]:
    return ["", *grid(columns, rows), ""]


def _size(table: dict) -> str:
    return table["title"].replace(" from memory", "").replace(" from disk", "")


def _contenders(tables: list[dict], cell: int, names: list[str]) -> list[str]:
    rows = []
    for table in tables:
        by_name = dict(map(tuple, table["rows"]))
        rows.append((_size(table), [by_name[name][cell] if name in by_name else None for name in names]))
    return _table(names, rows)


def _about(of: dict) -> str:
    return f"({of['date']}, revision {of['revision']}, {of['rounds']} rounds of {of['seconds']:g} s)"


def figures() -> str:
    hits = _load("hits")
    lines = [
        f"Measured on {hits['machine']}, shared with others.", "",
        "## Answers from memory", "",
        f"The token is checked, the links lead to the asker's proxy, over kept connections; CPU in µs per request {_about(hits)}:",
        *_contenders(hits["tables"], 0, NAMES),
        "Ours as a ratio of theirs:", *_contenders(hits["tables"], 2, NAMES[1:]),
    ]
    of = _load("connections")
    lines += [f"With a connection for each request, as ONE makes them {_about(of)}:", *_contenders(of["tables"], 0, NAMES)]
    for name, title in (
        ("gzip", "Gzip asked for"), ("one", "As ONE asks: a connection for each request, and gzip"),
        ("mirrored", "What the mirror answers, asked again"), ("logs", "With a line in the log for each request"), ("disk", "From disk, the memory cache switched off"),
    ):
        of = _load(name)
        rows = [(f"{_size(table).split(',')[0]}: {who}", [cells[0], cells[4]]) for table in of["tables"] for who, cells in table["rows"]]
        lines += [f"{title} {_about(of)}:", *_table(["CPU µs", "p50 ms"], rows)]
    of = _load("questions")
    growth = of["tables"][-1]
    rows = []
    for question, cells in growth["rows"]:
        alyx = ALYX.get(question)
        rows.append((f"`{question}`", [*cells, alyx, alyx / cells[1] if alyx else None]))
    columns = [*(f"{10 ** n}x, ms" for n in range(len(growth["columns"]))), "real Alyx, ms", "Alyx / ours"]
    lines += [
        "## Questions that nobody asked before", "",
        f"Answered from the mirror's tables, within the process, a page of 250 where nothing else is asked; medians {_about(of)}.",
        "1x are 400 sessions and 8,000 datasets, 10x are 4,400 and 89,000, 100x are 44,000 and 890,000; the real Alyx (3.6.1, two",
        "workers, PostgreSQL) had 4,495 sessions and was measured on another day on a machine of this kind, over HTTP.",
        *_table(columns, rows),
    ]
    of = _load("fill")
    lines += [f"Filling the mirror, indexes included {_about(of)}:", *_table(of["tables"][0]["columns"], of["tables"][0]["rows"])]
    of = _load("growth")
    lines += [f"Stored answers, beside so many others; CPU in µs per request {_about(of)}:", *_table(of["tables"][0]["columns"], of["tables"][0]["rows"])]
    of = _load("misses")
    rows = [(f"{table['title']}: {who}", [cells[0], cells[4]]) for table in of["tables"] for who, cells in table["rows"]]
    lines += ["## Questions that only Alyx can answer", "", f"{_about(of)[1:-1].capitalize()}:", *_table(["CPU µs", "p50 ms"], rows)]
    lines += [f"{table['title']}: {table['notes'][0][0].lower()}{table['notes'][0][1:]}" for table in of["tables"]] + [""]
    of = _load("distance")
    rows = dict(map(tuple, of["tables"][0]["rows"]))
    lines += [
        f"Where Alyx is 80 ms away behind TLS, a question takes {rows['alyx-proxy'][0]:.0f} ms through the proxy and "
        f"{rows['direct'][0]:.0f} ms without, as ONE asks it: {rows['alyx-proxy'][3]:.2f} of it. A new connection costs ONE three "
        "round trips a request, the proxy's kept ones cost one.", "",
    ]
    of = _load("day")
    table = of["tables"][0]
    lines += ["## A lab's day", "", f"Twenty people and two rigs, Alyx 80 ms away {_about(of)}:", *_table(table["columns"], table["rows"]), *table["notes"], ""]
    of = _load("start")["tables"][0]
    cells = of["rows"][0][1]
    lines += ["## Start and memory", "", f"{of['title']}: {cells[0]:.0f} ms from exec to the first answer ({cells[1]:.0f} to {cells[2]:.0f}).", ""]
    of = _load("memory")
    lines += [f"{of['tables'][0]['title']} {_about(of)}:", *_table(of["tables"][0]["columns"], of["tables"][0]["rows"])]
    of = _load("soak")
    table = of["tables"][0]
    lines += [
        "## Very many at once", "",
        f"{table['title']} ({of['date']}, revision {of['revision']}; the memory over time is drawn in `bench/results/soak.svg`):",
        *_table(table["columns"], table["rows"]),
    ]
    return "\n".join(lines)


def short() -> str:
    """The few figures that the README shows."""
    hits, connections, questions = _load("hits"), _load("connections"), _load("questions")
    rows = [
        (f"{_size(table).split(',')[0]} from memory, CPU µs a request", table)
        for table in hits["tables"] if "32 connections" in table["title"]
    ] + [("1 KB, a connection a request", connections["tables"][0])]
    shown = []
    for title, table in rows:
        by_name = dict(map(tuple, table["rows"]))
        shown.append((title, [by_name[name][0] for name in NAMES if name != "Squid"]))
    growth = dict(map(tuple, questions["tables"][-1]["rows"]))
    day = dict(map(tuple, _load("day")["tables"][0]["rows"]))
    ours, mirrored, alone = day["alyx-proxy"], day["alyx-proxy, mirror"], day["direct"]
    lines = [
        f"Measured on {hits['date']} at revision {hits['revision']} on {hits['machine']}, with `bench/run`:",
        *_table([name for name in NAMES if name != "Squid"], shown),
        f"A page of 250 sessions that nobody asked for before takes {growth['sessions'][1]:.1f} ms from the mirror at 4,400 sessions (a real Alyx: 94 ms), the "
        f"datasets of a session {growth['datasets?session={session}'][1]:.1f} ms (84 ms). Over a lab's day with Alyx 80 ms away, half of all requests took less than "
        f"{ours[1]:.0f} ms with the proxy and {mirrored[1]:.0f} ms with its mirror, instead of {alone[1]:.0f} ms.",
    ]
    return "\n".join(lines)


def write() -> None:
    """Renews both pages."""
    for page, text in ((ROOT / "docs" / "src" / "performance.md", figures()), (ROOT / "README.md", short())):
        _renew(page, text)


def _renew(page: Path, text: str) -> None:
    before = page.read_text()
    if before.count(BEGIN) != 1 or before.count(END) != 1:
        raise RuntimeError(f"{page} does not say where its figures stand ({BEGIN} and {END})")
    head, rest = before.split(BEGIN)
    _, tail = rest.split(END)
    page.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")
