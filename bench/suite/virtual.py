"""A lab's day by a clock that is moved on (`examples/day/`): what Alyx is asked, in share of what clients ask."""

import json
import subprocess

from .machine import Run

# Reads a day, and the share of them that Alyx may be asked at the most.
LABS = {2_000: 25, 20_000: 5, 200_000: 2}
# One that is played to see that it can be.
SMALL = {200: None}


def played(run: Run, reads: int, kind: str) -> dict:
    out = subprocess.run([run.example("day"), str(reads), kind], check=True, capture_output=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def counts(run: Run):
    """Three labs, with the mirror and without."""
    rows = []
    for reads, most in (SMALL if run.small else LABS).items():
        for kind in ("mirror", "cache"):
            day = played(run, reads, kind)
            by = day["by_mirror"]
            rows.append((f"{reads:,} reads, {'mirror' if day['mirror'] else 'no mirror'}", [
                day["reads"], day["writes"], day["gets_at_alyx"], day["percent"], most if day["mirror"] else None,
                day["background"], by["question"], day["first_fill"], day["oldest_minutes"],
            ]))
    yield {
        "title": "A lab's day by a clock that is moved on: what Alyx is asked",
        "columns": [
            "reads", "writes", "GETs at Alyx", "%", "goal, %", "by itself", "for questions", "first fill", "oldest answer, min",
        ],
        "rows": rows,
        "notes": [
            "24 hours from midnight on, after the first fill and one night. GETs at Alyx are all but those of the first fill. The oldest answer: how long ago what a session shows was superseded at Alyx by somebody else.",
        ],
    }
