"""The cases: each gives tables."""

import http.client
import json
import os
import resource
import ssl
import statistics
import subprocess
import time
from pathlib import Path

from . import contenders as servers
from . import repeated, virtual
from .contenders import TOKEN, Contender
from .day import PEOPLE, RIGS, Day, token
from .load import Series, rounds, wrk
from .machine import ROOT, Run, free_port, memory_bytes
from .relay import Relay
from .soak import Soak

# An answer of each size, at the origin.
SIZES = {
    "1 KB": "/sessions/00000000-0000-4000-8000-000000000000",
    "10 KB": "/sessions/a0000000-0000-4000-8000-000000000000",
    "100 KB": "/sessions?limit=250",
    "3 MB": "/datasets?limit=1000",
}


def sizes(run: Run) -> dict[str, str]:
    """All sizes, or the first."""
    return {"1 KB": SIZES["1 KB"]} if run.small else SIZES


def table_of(title: str, series: list[Series], notes: list[str] | None = None) -> dict:
    """CPU time, rate and latency of each contender, and ours as a ratio of theirs."""
    ours = series[0].median("cpu_each")
    rows = []
    for measured in series:
        low, high = measured.spread("cpu_each")
        cpu = measured.median("cpu_each")
        rows.append((
            measured.name,
            [
                cpu,
                f"{low:.3g} to {high:.3g}",
                ours / cpu if cpu and measured is not series[0] else None,
                measured.median("per_second"),
                measured.median("p50") * 1e3,
                measured.median("p99") * 1e3,
            ],
        ))
    columns = ["CPU us/request", "lowest to highest", "ours / theirs", "requests/s", "p50 ms", "p99 ms"]
    # Round by round: what a busy neighbour did to one of them he did to the other.
    ratios = {
        measured.name: [mine.cpu_each / theirs.cpu_each for mine, theirs in zip(series[0].samples, measured.samples) if theirs.cpu]
        for measured in series[1:]
    }
    return {"title": title, "columns": columns, "rows": rows, "notes": notes or [], "ratios": ratios}


def hits(run: Run):
    """Answers from memory over kept connections, of four sizes."""
    everybody = servers.all_of(run, servers.origin(run))
    for connections in (32,) if run.small or run.quick else (32, 64):
        for size, path in sizes(run).items():
            yield table_of(f"{size} from memory, {connections} connections", rounds(run, everybody, path, connections))
    _end(run)


def gzip(run: Run):
    """Answers from memory to those who ask for gzip, as ONE does."""
    port = servers.origin(run)
    everybody = servers.all_of(run, port, ("bare",))
    for size, path in sizes(run).items():
        series = rounds(run, everybody, path, 32, {"Accept-Encoding": "gzip, deflate"})
        yield table_of(f"{size} from memory, gzip asked for, 32 connections", series, ["Bare hyper gives it as it is."])
    _end(run)


def one(run: Run):
    """As ONE asks: a connection for each request, and gzip."""
    yield from repeated.one(run, table_of)
    _end(run)


def mirrored(run: Run):
    """A question that the mirror answers, asked again: beside a proxy that has no mirror and has stored the answer."""
    yield from repeated.mirrored(run, table_of)
    _end(run)


def connections(run: Run):
    """A connection for each request, as ONE makes them."""
    everybody = servers.all_of(run, servers.origin(run))
    for size in ("1 KB",) if run.small else ("1 KB", "10 KB", "100 KB"):
        series = rounds(run, everybody, SIZES[size], 32, {"Connection": "close"})
        yield table_of(f"{size} from memory, a connection for each request", series)
    _end(run)


def logs(run: Run):
    """Answers from memory with a line in the log for each request."""
    port = servers.origin(run)
    everybody = [
        servers.proxy(run, f"http://localhost:{port}", "alyx-proxy, log", log="info"),
        servers.proxy(run, f"http://localhost:{port}", "alyx-proxy, no log", folder="other"),
    ]
    if run.has("nginx"):
        everybody += [servers.nginx(run, port, log=True), servers.nginx(run, port)]
    for size in ("1 KB",) if run.small else ("1 KB", "100 KB"):
        yield table_of(f"{size} from memory, logged", rounds(run, everybody, SIZES[size], 32))
    _end(run)


def disk(run: Run):
    """Answers from disk: the memory cache is switched off."""
    port = servers.origin(run)
    upstream = f"http://localhost:{port}"
    everybody = [
        servers.proxy(run, upstream, "alyx-proxy, disk", storage__max_memory="0"),
        servers.proxy(run, upstream, "alyx-proxy, memory", folder="other"),
    ]
    if run.has("nginx"):
        everybody += [servers.nginx(run, port), servers.nginx(run, port, sendfile=False)]
    for size, path in sizes(run).items():
        yield table_of(f"{size} from disk, 32 connections", rounds(run, everybody, path, 32))
    _end(run)


def misses(run: Run):
    """What the proxy adds to a question that only Alyx can answer."""
    port = servers.origin(run)
    script = run.folder / "new.lua"
    # Each thread counts for itself, from a number of its own.
    script.write_text("""
local asked = math.random(1, 2^40)
function setup(thread) end
function init() math.randomseed(os.time()); asked = math.random(1, 2^40) end
function request() asked = asked + 1; return wrk.format(nil, "/sessions?limit=3&number=" .. asked) end
""")
    direct = Contender("direct", port, run.processes[-1].pid)
    proxy = servers.proxy(run, f"http://localhost:{port}")
    everybody = [proxy, direct]
    if run.has("nginx"):
        everybody.append(servers.nginx(run, port))
    proxy.ask("/labs/x")
    for connections in (1, 16):
        series = [Series(contender.name) for contender in everybody]
        for _ in range(run.rounds):
            for contender, measured in zip(everybody, series):
                measured.samples.append(wrk(run, contender, "/", connections, {}, str(script)))
        table = table_of(f"New questions, {connections} connection{'s' * (connections > 1)}", series)
        added = series[0].median("p50") - series[1].median("p50")
        table["notes"] = [f"The proxy adds {added * 1e3:.3f} ms to the median."]
        yield table
    _end(run)


def distance(run: Run):
    """New questions where Alyx is 80 ms away behind TLS, with a connection for each request."""
    port = servers.origin(run)
    tls = _tls(run, port)
    relay = Relay(tls, delay=0.04)
    environment = {"SSL_CERT_FILE": str(run.folder / "certificate.pem")}
    proxy = servers.proxy(run, f"https://localhost:{relay.port}", environment=environment)
    times = {"alyx-proxy": [], "direct": []}
    context = ssl.create_default_context(cafile=str(run.folder / "certificate.pem"))
    proxy.ask("/labs/x")
    for n in range(3 if run.small else 30):
        path = f"/sessions?limit=3&number={n}"
        start = time.monotonic()
        status, _, _ = proxy.ask(path)
        times["alyx-proxy"].append(time.monotonic() - start)
        if status != 200:
            raise RuntimeError(f"status {status}\n{run.log()}")
        start = time.monotonic()
        connection = http.client.HTTPSConnection("localhost", relay.port, context=context, timeout=30)
        connection.request("GET", path, headers={"Authorization": TOKEN})
        assert connection.getresponse().read()
        connection.close()
        times["direct"].append(time.monotonic() - start)
    relay.close()
    medians = {name: statistics.median(of_name) * 1e3 for name, of_name in times.items()}
    rows = [
        (name, [medians[name], min(times[name]) * 1e3, max(times[name]) * 1e3, medians[name] / medians["direct"]])
        for name in times
    ]
    yield {
        "title": "New questions over 80 ms",
        "columns": ["median ms", "lowest ms", "highest ms", "of direct"],
        "rows": rows,
        "notes": ["The relay delays what goes through it by 40 ms each way, and each new connection by 80 ms."],
    }
    _end(run)


def questions(run: Run):
    """Questions that nobody asked before, answered from the mirror's tables, within the process."""
    by_factor = {}
    for factor in (1,) if run.small else (1, 11, 110):
        result = run.folder / f"questions{factor}.json"
        rounds = "3" if run.small else "21"
        subprocess.run([run.example("questions"), str(run.lab(factor)), rounds, str(result)], check=True, capture_output=True)
        told = by_factor[factor] = json.loads(result.read_text())
        rows = [(row["question"], [row["median_ms"], row["first_ms"], row["longest_ms"], row["count"], row["bytes"], row["again_ms"]]) for row in told["questions"]]
        yield {
            "title": f"Questions to a lab of {told['questions'][0]['count']:,} sessions",
            "columns": ["median ms", "first ms", "slowest ms", "records", "bytes", "again ms"],
            "rows": rows,
            "notes": [f"Filled {told['records']:,} records at {told['records_per_second']:,.0f} a second, indexes included."],
        }
    medians = {factor: {row["question"]: row["median_ms"] for row in told["questions"]} for factor, told in by_factor.items()}
    first = next(iter(medians.values()))
    yield {
        "title": "Growth: questions to a lab of as many times the size",
        "columns": [f"{factor}x, median ms" for factor in medians],
        "rows": [(question, [of_factor[question] for of_factor in medians.values()]) for question in first],
    }


def fill(run: Run):
    """Records a second into the mirror, as a snapshot or a synchronisation puts them there, indexes included."""
    rows = []
    for factor in (1,) if run.small else (11, 33):
        told = _fill(run, factor, run.folder / f"filled{factor}", "http://localhost:9")
        rows.append((f"{factor} times the sample", [told["records"], told["seconds"], told["records"] / told["seconds"]]))
    yield {"title": "Filling the mirror", "columns": ["records", "seconds", "records/s"], "rows": rows}
    _end(run)


def growth(run: Run):
    """Answers from memory and from disk while there are few others, and while there are many."""
    rows = []
    port = servers.origin(run)
    asked = 0
    proxy = servers.proxy(run, f"http://localhost:{port}", storage__max_disk="16 GiB")
    for stored in (10,) if run.small else (1_000, 10_000, 100_000):
        while asked < stored:
            asked += 1
            proxy.ask(f"/sessions?limit=3&number={asked}")
        samples = {}
        for place in ("memory", "disk"):
            size = "256 MiB" if place == "memory" else "0"
            run.end(proxy)
            proxy = servers.proxy(run, f"http://localhost:{port}", storage__max_disk="16 GiB", storage__max_memory=size)
            for path in (SIZES["1 KB"], SIZES["10 KB"]):
                series = rounds(run, [proxy], path, 32)
                samples[place, path] = series[0].median("cpu_each")
        store = sum(file.stat().st_size for file in (run.folder / "data").rglob("*.db"))
        rows.append((f"{stored:,} answers", [*samples.values(), store / 1e6]))
    yield {
        "title": "Growth: an answer beside so many others, CPU us/request",
        "columns": ["1 KB, memory", "10 KB, memory", "1 KB, disk", "10 KB, disk", "store, MB"],
        "rows": rows,
    }
    _end(run)


def day(run: Run):
    """A lab's day: twenty people and two rigs, with the proxy and without, where Alyx is 80 ms away."""
    columns = ["requests", "p50 ms", "p95 ms", "p99 ms", "reads at Alyx", "writes at Alyx"]
    rows = []
    for name in ("alyx-proxy", "alyx-proxy, mirror", "direct"):
        centre_port = free_port()
        centre = run.start(
            [run.example("miniature"), str(centre_port), str(PEOPLE + RIGS)], centre_port,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

        def told():
            centre.stdin.write("\n")
            centre.stdin.flush()
            return json.loads(centre.stdout.readline())

        played = Day(centre_port, run.small)
        relay = Relay(centre_port, delay=0.04)
        port = relay.port
        if name != "direct":
            # Ten hours in a minute: what is five minutes to the lab is half a second here.
            settings = {
                "freshness__records": "500ms", "freshness__reference": "144s", "freshness__volatile": "0s",
                "cache__stale_while_revalidate": "500ms",
            }
            if "mirror" in name:
                settings |= {"mirror__token": token(0)[6:], "mirror__interval": "1s", "mirror__full_interval": "6s", "mirror__max_age": "3s"}
            proxy = servers.proxy(run, f"http://localhost:{relay.port}", folder=name.replace(", ", "-"), **settings)
            port = proxy.port
            if "mirror" in name:
                repeated.wait_for_mirror(proxy)
        told()
        clients = played.play(port)
        centre_saw = told()
        relay.close()
        times = sorted(one for client in clients for one in client.times)
        at = lambda percent: times[min(len(times) - 1, len(times) * percent // 100)] * 1e3
        failed = [failure for client in clients for failure in client.failed]
        if failed:
            raise RuntimeError(f"{name}: {len(failed)} requests failed:\n" + "\n".join(failed[:5]))
        rows.append((name, [len(times), at(50), at(95), at(99), centre_saw["reads"], centre_saw["writes"]]))
        _end(run)
    yield {
        "title": "A lab's day, as its people see it",
        "columns": columns,
        "rows": rows,
        "notes": [
            "Ten hours in a minute: pauses and times of freshness are shortened alike, and so Alyx's throttle is off. Reads at Alyx include those of the mirror's synchronisation.",
        ],
    }
    yield from virtual.counts(run)


def start(run: Run):
    """From exec to the first answer, with a store of 1 GB."""
    port = servers.origin(run)
    proxy = servers.proxy(run, f"http://localhost:{port}", storage__max_disk="8 GiB")
    megabytes = 20 if run.small else 1000
    path, probe = SIZES["3 MB"], SIZES["1 KB"]
    proxy.ask(probe)
    for n in range(megabytes // 2):
        proxy.ask(f"{path}&noise={n}")
    run.end(proxy)
    store = sum(file.stat().st_size for file in (run.folder / "data").rglob("*") if file.is_file())
    times = []
    for _ in range(1 if run.small else 7):
        began = time.monotonic()
        proxy = servers.proxy(run, f"http://localhost:{port}", storage__max_disk="8 GiB")
        status, headers, _ = proxy.ask(probe)
        times.append((time.monotonic() - began) * 1e3)
        assert status == 200 and "hit" in headers["cache-status"], headers
        run.end(proxy)
    yield {
        "title": f"Start with a store of {store / 1e9:.2f} GB",
        "columns": ["ms to the first answer", "lowest", "highest"],
        "rows": [("alyx-proxy", [statistics.median(times), min(times), max(times)])],
    }
    _end(run)


def memory(run: Run):
    """Resident memory with a million mirrored records and a full memory cache, against the settings."""
    port = servers.origin(run)
    upstream = f"http://localhost:{port}"
    size = 32 if run.small else 256
    records = _fill(run, 1 if run.small else 33, run.folder / "data", upstream)["records"]
    proxy = servers.proxy(run, upstream, storage__max_memory=f"{size} MiB", storage__max_disk="8 GiB", mirror__max_age="1d")
    rows = []

    def note(when: str, of: int | None = None) -> None:
        now = of or memory_bytes(proxy.pid)
        rows.append((when, [now / 1e6, now / 1e6 - size * 1.048576 if len(rows) else None]))

    note("at the start")
    # The token is judged by Alyx first.
    proxy.ask("/labs", **{"Cache-Control": "no-cache"})
    for lab in ("cortexlab", "mainenlab", "angelakilab"):
        for path in (f"/sessions?lab={lab}", f"/datasets?django=session__lab__name,{lab}&limit=1000", "/insertions?atlas_acronym=CA1",
                     "/datasets?django=name__icontains,spikes", "/datasets?exists=True&limit=1000", "/channels?django=brain_region__acronym,CA1"):
            status, headers, body = proxy.ask(path)
            if status != 200 or "mirror" not in headers["cache-status"]:
                raise RuntimeError(f"{path}: {status} {headers['cache-status']} {body[:200]!r}")
    note("after questions to the mirror")
    most = 0
    for n in range(size):
        # Of the mirror's tables there is none such: Alyx itself shall say it.
        proxy.ask(f"{SIZES['3 MB']}&noise={n}", **{"Cache-Control": "no-cache"})
        most = max(most, memory_bytes(proxy.pid))
    note("at most, while the cache is filled", most)
    note("full")
    yield {
        "title": f"Resident memory, {records:,} mirrored records, storage.max_memory = {size} MiB",
        "columns": ["MB", "over the setting"],
        "rows": rows,
    }
    _end(run)


def soak(run: Run):
    """Ten thousand idle connections and five hundred busy clients for ten minutes: memory, errors, fairness."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    port = servers.origin(run)
    size = 32
    idle, busy, rate, seconds = (200, 50, 200, 6) if run.small else (10_000, 500, 500, 600)
    proxy = servers.proxy(
        run, f"http://localhost:{port}", storage__max_memory=f"{size} MiB", server__max_requests_per_client="1000", upstream__requests_per_minute="0"
    )
    # Answers from memory, from disk (more than fit into memory), and ones that only Alyx has.
    paths = [SIZES["1 KB"], SIZES["10 KB"], SIZES["100 KB"], *(f"{SIZES['100 KB']}&noise={n}" for n in range(40 if run.small else 1000))]
    proxy.ask("/labs", Authorization=token(0))
    began, series = time.monotonic(), []

    def watch() -> None:
        series.append((time.monotonic() - began, memory_bytes(proxy.pid) / 1e6))

    load = Soak(proxy.port, paths, idle, busy, rate, seconds)
    load.run(watch)
    if load.failed:
        raise RuntimeError(f"{len(load.failed)} requests failed: {load.failed[:3]}")
    times = sorted(one for client in load.times for one in client)
    clients = load.per_client()
    half = [memory for at, memory in series if at > seconds / 2]
    first, last = half[: len(half) // 2], half[len(half) // 2 :]
    yield {
        "title": f"{idle:,} idle connections and {busy} busy clients, {rate} requests/s for {seconds} s, storage.max_memory = {size} MiB",
        "columns": [""],
        "rows": [
            ("answers", [len(times)]),
            ("errors", [len(load.failed)]),
            ("idle connections made anew", [load.again]),
            ("memory at most, MB", [max(memory for _, memory in series)]),
            ("memory, third quarter, MB", [statistics.mean(first)]),
            ("memory, last quarter, MB", [statistics.mean(last)]),
            ("p50 ms", [times[len(times) // 2] * 1e3]),
            ("p99 ms", [times[len(times) * 99 // 100] * 1e3]),
            ("slowest client's median / all clients' median", [clients[-1] / statistics.median(clients)]),
        ],
        "series": ("memory, MB", series),
    }
    _end(run)


def attack(run: Run):
    """A user's cheap question while others attack at random: how long it takes, memory and disk."""
    seconds = 10 if run.small else 120
    command = ["cargo", "test", "--locked", "--test", "it", "attacks::random::", "--", "--nocapture"]
    environment = {**os.environ, "ALYX_PROXY_ATTACK_SECONDS": str(seconds)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("attacks at random: ")]
    if done.returncode or not lines:
        raise RuntimeError(f"the attacks were not withstood:\n{done.stdout[-4000:]}")
    told = json.loads(lines[-1].split(": ", 1)[1])
    yield {
        "title": f"twelve attackers at random for {seconds} s, storage.max_memory = 32 MiB, development build",
        "columns": [""],
        "rows": [
            ("attacks", [told["attacks"]]),
            ("cheap questions of a user", [told["questions"]]),
            ("p50 ms", [told["median_ms"]]),
            ("p99 ms (goal: 250)", [told["p99_ms"]]),
            ("longest ms", [told["longest_ms"]]),
            ("memory at most, MB", [told["memory_bytes"] / 1e6]),
            ("disk besides the mirror, MB", [told["disk_bytes"] / 1e6]),
        ],
    }


def _fill(run: Run, factor: int, data: Path, upstream: str) -> dict:
    """Fills the mirror of a data directory with so many times the sample lab; the records and the seconds it took."""
    command = [run.example("fill"), str(run.lab(factor)), str(data), upstream]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _tls(run: Run, port: int) -> int:
    """The origin behind TLS."""
    key, certificate = run.folder / "key.pem", run.folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )
    return servers.tls(run, port, key, certificate)


def _end(run: Run) -> None:
    for process in list(reversed(run.processes)):
        run.stop(process)
    for folder in run.folder.iterdir():
        if folder.is_dir():
            subprocess.run(["rm", "-rf", folder], check=True)


ALL = {case.__name__: case for case in (hits, gzip, one, mirrored, connections, logs, disk, misses, distance, questions, fill, growth, day, start, memory, soak, attack)}
