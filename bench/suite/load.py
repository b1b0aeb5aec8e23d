"""Load from a process of its own (wrk), and what it cost the server."""

import re
import statistics
import subprocess
from dataclasses import dataclass, field

from .contenders import TOKEN, Contender
from .machine import Run, cpu_seconds

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass
class Sample:
    """One measurement."""

    requests: int
    per_second: float
    p50: float
    p99: float
    cpu: float
    errors: int

    @property
    def cpu_each(self) -> float:
        """Microseconds of CPU time for each request."""
        return self.cpu / max(self.requests, 1) * 1e6


@dataclass
class Series:
    """The measurements of one contender."""

    name: str
    samples: list[Sample] = field(default_factory=list)

    def median(self, of: str) -> float:
        return statistics.median(getattr(sample, of) for sample in self.samples)

    def spread(self, of: str) -> tuple[float, float]:
        values = [getattr(sample, of) for sample in self.samples]
        return min(values), max(values)


def wrk(run: Run, contender: Contender, path: str, connections: int, headers: dict[str, str], script: str | None = None) -> Sample:
    command = ["wrk", "-t", "1" if connections == 1 else "2", "-c", str(connections), "-d", f"{max(run.seconds, 1):.0f}s", "--latency"]
    for name, value in {"Authorization": TOKEN, **headers}.items():
        command += ["-H", f"{name}: {value}"]
    if script:
        command += ["-s", script]
    before = cpu_seconds(contender.pid)
    done = subprocess.run(command + [f"http://127.0.0.1:{contender.port}{path}"], capture_output=True, text=True, check=True)
    cpu = cpu_seconds(contender.pid) - before
    said = done.stdout
    if "requests in" not in said:
        raise RuntimeError(f"{contender.name} {path}: {said}{done.stderr}")
    number = lambda pattern: re.search(pattern, said)
    seconds = lambda percent: _seconds(number(rf"\s{percent}%\s+([\d.]+)(us|ms|s|m)"))
    wrong = number(r"Non-2xx or 3xx responses: (\d+)")
    broken = number(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
    # With a connection for each request wrk counts the server's close as a read error.
    lost = sum(int(broken.group(n)) for n in (1, 3, 4)) if broken else 0
    return Sample(
        requests=int(number(r"(\d+) requests in").group(1)),
        per_second=float(number(r"Requests/sec:\s+([\d.]+)").group(1)),
        p50=seconds(50),
        p99=seconds(99),
        cpu=cpu,
        errors=lost + (int(wrong.group(1)) if wrong else 0),
    )


def _seconds(match: re.Match) -> float:
    return float(match.group(1)) * UNITS[match.group(2)]


def rounds(run: Run, contenders: list[Contender], path: str, connections: int, headers: dict[str, str] | None = None) -> list[Series]:
    """Interleaved rounds over all contenders, after each has been warmed and its answer looked at."""
    headers = headers or {}
    lengths = set()
    for contender in contenders:
        for _ in range(3):
            status, answered, body = contender.ask(path, **headers)
        if status != 200:
            raise RuntimeError(f"{contender.name} answers {path} with {status}: {body[:200]!r}")
        # Whoever shall be compared as a cache must be one.
        if answered.get("x-cache-status", "HIT") != "HIT":
            raise RuntimeError(f"{contender.name} does not answer {path} from its cache: {answered}")
        lengths.add(len(body))
    if max(lengths) > 1.2 * min(lengths) and "Accept-Encoding" not in headers:
        raise RuntimeError(f"the contenders answer {path} with bodies of {sorted(lengths)} bytes")
    series = [Series(contender.name) for contender in contenders]
    for _ in range(run.rounds):
        for contender, measured in zip(contenders, series):
            measured.samples.append(wrk(run, contender, path, connections, headers))
    for measured in series:
        errors = sum(sample.errors for sample in measured.samples)
        if errors:
            raise RuntimeError(f"{measured.name}: {errors} errors at {path}")
    return series
