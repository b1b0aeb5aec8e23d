"""The cases: each gives tables."""

import http.client
import json
import ssl
import statistics
import subprocess
import time

from . import contenders as servers
from .contenders import TOKEN, Contender
from .load import Series, rounds, wrk
from .machine import Run, memory_bytes
from .relay import Relay

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
    return {"title": title, "columns": columns, "rows": rows, "notes": notes or []}


def hits(run: Run):
    """Answers from memory over kept connections, of four sizes."""
    everybody = servers.all_of(run, servers.origin(run))
    for connections in (32,) if run.small else (32, 64):
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
        servers.proxy(run, upstream, "alyx-proxy, disk", storage__memory="0"),
        servers.proxy(run, upstream, "alyx-proxy, memory", folder="other"),
    ]
    if run.has("nginx"):
        everybody.append(servers.nginx(run, port))
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
    """Questions that nobody asked before, answered from the mirror's tables, within the process; and filling them."""
    for factor in (1,) if run.small else (11, 110):
        folder = run.folder / f"lab{factor}"
        result = run.folder / f"lab{factor}.json"
        subprocess.run([run.example("scale"), str(factor), str(folder)], check=True, capture_output=True)
        subprocess.run(
            [run.example("questions"), str(folder), "3" if run.small else "21", str(result)], check=True, capture_output=True
        )
        told = json.loads(result.read_text())
        rows = [(row["question"], [row["median_ms"], row["first_ms"], row["longest_ms"], row["count"], row["bytes"]]) for row in told["questions"]]
        yield {
            "title": f"Questions to a lab of {told['questions'][0]['count']:,} sessions",
            "columns": ["median ms", "first ms", "slowest ms", "records", "bytes"],
            "rows": rows,
            "notes": [f"Filled {told['records']:,} records at {told['records_per_second']:,.0f} a second, indexes included."],
        }


def start(run: Run):
    """From exec to the first answer, with a store of 1 GB."""
    port = servers.origin(run)
    proxy = servers.proxy(run, f"http://localhost:{port}", storage__disk="8 GiB")
    megabytes = 20 if run.small else 1000
    path = SIZES["3 MB"]
    for n in range(megabytes // 2):
        proxy.ask(f"{path}&noise={n}")
    probe = SIZES["1 KB"]
    proxy.ask(probe)
    process = next(process for process in run.processes if process.pid == proxy.pid)
    run.stop(process)
    store = sum(file.stat().st_size for file in (run.folder / "data").rglob("*") if file.is_file())
    times = []
    for _ in range(1 if run.small else 7):
        began = time.monotonic()
        proxy = servers.proxy(run, f"http://localhost:{port}", storage__disk="8 GiB")
        status, headers, _ = proxy.ask(probe)
        times.append((time.monotonic() - began) * 1e3)
        assert status == 200 and "hit" in headers["cache-status"], headers
        run.stop(next(process for process in run.processes if process.pid == proxy.pid))
    yield {
        "title": f"Start with a store of {store / 1e9:.2f} GB",
        "columns": ["ms to the first answer", "lowest", "highest"],
        "rows": [("alyx-proxy", [statistics.median(times), min(times), max(times)])],
    }
    _end(run)


def memory(run: Run):
    """Resident memory with a full memory cache, against the settings."""
    port = servers.origin(run)
    size = 32 if run.small else 256
    proxy = servers.proxy(run, f"http://localhost:{port}", storage__memory=f"{size} MiB", storage__disk="8 GiB")
    empty = memory_bytes(proxy.pid)
    most = empty
    for n in range(size):
        proxy.ask(f"{SIZES['3 MB']}&noise={n}")
        most = max(most, memory_bytes(proxy.pid))
    yield {
        "title": f"Resident memory, storage.memory = {size} MiB",
        "columns": ["MB", "over the setting"],
        "rows": [
            ("at the start", [empty / 1e6, None]),
            ("at most, while it is filled", [most / 1e6, most / 1e6 - size * 1.048576]),
            ("full", [memory_bytes(proxy.pid) / 1e6, memory_bytes(proxy.pid) / 1e6 - size * 1.048576]),
        ],
    }
    _end(run)


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


ALL = {case.__name__: case for case in (hits, gzip, connections, logs, disk, misses, distance, questions, start, memory)}
