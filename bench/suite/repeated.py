"""Questions that are asked again and again, as labs ask them: as ONE sends them, and with a mirror that answers them."""

import subprocess
import time

from . import contenders as servers
from .contenders import Contender
from .day import token
from .load import rounds
from .machine import Run, cpu_seconds, free_port

# Sessions on a page, for bodies of some 2, 12, 18, 45 and 77 KB.
PAGES = (5, 40, 60, 150, 250)
ASKED = {"Authorization": token(0), "Accept": "application/json"}
# What ONE sends with each request, over a connection of its own.
ONE = {"Connection": "close", "Accept-Encoding": "gzip, deflate"}


def one(run: Run, table_of):
    """As ONE asks: a connection for each request, and gzip. Real records: what repeats itself costs a compressor nothing."""
    port = _centre(run)
    everybody = [servers.proxy(run, f"http://localhost:{port}")]
    if run.has("nginx"):
        everybody += [servers.nginx(run, port, gzip="on"), servers.nginx(run, port, gzip="stored")]
    for size, limit in (("10 KB", 33),) if run.small else (("10 KB", 33), ("250 sessions", 250)):
        yield table_of(f"{size} as ONE asks for it", rounds(run, everybody, f"/sessions?limit={limit}", 32, {**ASKED, **ONE}))


def mirrored(run: Run, table_of):
    """A question that the mirror answers, asked again: beside a proxy that has no mirror and has stored the answer."""
    centre = _centre(run)
    upstream = f"http://localhost:{centre}"
    ours = servers.proxy(run, upstream, "alyx-proxy, mirror", folder="mirrored", mirror__token=token(0)[6:])
    wait_for_mirror(ours)
    # The first fill is nobody's cost.
    wait_for_rest(ours)
    everybody = [ours, servers.proxy(run, upstream, "alyx-proxy, stored")]
    if run.has("nginx"):
        everybody.append(servers.nginx(run, centre))
    for limit in PAGES[:1] if run.small else PAGES:
        path = f"/sessions?limit={limit}"
        status, headers, body = ours.ask(path, **ASKED)
        if status != 200 or "mirror" not in headers["cache-status"]:
            raise RuntimeError(f"{path}: {status} {headers.get('cache-status')}")
        yield table_of(f"{len(body) / 1000:.0f} KB that the mirror answers, again", rounds(run, everybody, path, 32, ASKED))


def _centre(run: Run) -> int:
    """The miniature Alyx; its port."""
    port = free_port()
    run.start([run.example("miniature"), str(port), "2"], port, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    return port


def wait_for_mirror(proxy: Contender) -> None:
    """Waits until the tables are there."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        _, headers, _ = proxy.ask("/sessions?limit=1", Authorization=token(0))
        if "mirror" in headers.get("cache-status", ""):
            return
        time.sleep(0.2)
    raise RuntimeError("the mirror was not filled")


def wait_for_rest(proxy: Contender) -> None:
    """Waits until a proxy has nothing to do by itself: details are fetched long after the lists."""
    end, at_rest = time.monotonic() + 300, 0
    while at_rest < 3:
        before = cpu_seconds(proxy.pid)
        time.sleep(1)
        at_rest = at_rest + 1 if cpu_seconds(proxy.pid) - before < 0.03 else 0
        if time.monotonic() > end:
            raise RuntimeError("the mirror's details were not fetched in time")
