"""What a run has on this machine: the tools, the builds, ports, and a folder that goes with it."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Each tool, and the Debian package that has it.
TOOLS = {"wrk": "wrk", "nginx": "nginx-light", "varnishd": "varnish", "squid": "squid", "openssl": "openssl"}


class Missing(Exception):
    """Something that a case needs is not on this machine."""


class Run:
    """One run: what was started ends with it, and its files go."""

    def __init__(self, small: bool, rounds: int, seconds: float, without: list[str], quick: bool = False):
        self.small, self.rounds, self.seconds, self.without, self.quick = small, rounds, seconds, without, quick
        self.processes: list[subprocess.Popen] = []

    def __enter__(self) -> "Run":
        self.folder = Path(tempfile.mkdtemp(prefix="alyx-proxy-bench-"))
        # nginx and squid give up root for an account of their own, which must reach its files.
        self.folder.chmod(0o755)
        return self

    def __exit__(self, *_) -> None:
        for process in reversed(self.processes):
            self.stop(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self) -> None:
        """Builds what is measured, and looks for the tools."""
        wanted = {name: package for name, package in TOOLS.items() if name not in self.without}
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        os.environ["PATH"] = path
        missing = [package for name, package in wanted.items() if not shutil.which(name)]
        if missing:
            raise Missing(
                f"missing: {', '.join(missing)}\n  sudo apt install --no-install-recommends {' '.join(missing)}\n"
                "  or leave contenders out: --without NAME"
            )
        profile = [] if self.small else ["--release"]
        examples = ["origin", "scale", "questions", "fill", "miniature", "day"]
        build = ["cargo", "build", "--locked", "--bins"] + [word for name in examples for word in ("--example", name)]
        subprocess.run(build + profile, cwd=ROOT, check=True)
        target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        self.built = target / ("debug" if self.small else "release")

    def lab(self, factor: int) -> Path:
        """The sample lab so many times, made once."""
        folder = self.folder / f"lab{factor}"
        if not folder.exists():
            subprocess.run([self.example("scale"), str(factor), str(folder)], check=True, capture_output=True)
        return folder

    def has(self, contender: str) -> bool:
        return contender not in self.without

    def example(self, name: str) -> str:
        return str(self.built / "examples" / name)

    @property
    def program(self) -> str:
        return str(self.built / "alyx-proxy")

    def start(self, command: list[str], port: int | None = None, **more) -> subprocess.Popen:
        """Starts a server, and waits until it listens."""
        log = open(self.folder / "log", "ab")
        process = subprocess.Popen(command, **{"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **more})
        self.processes.append(process)
        if port is not None:
            self.wait_for(port, process)
        return process

    def wait_for(self, port: int, process: subprocess.Popen | None = None, patience: float = 60) -> None:
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if process is not None and process.poll() not in (None, 0):
                raise RuntimeError(f"{process.args[0]} ended:\n{self.log()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.005)
        raise RuntimeError(f"nobody listens on port {port}:\n{self.log()}")

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def stop(self, process: subprocess.Popen) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self.processes:
            self.processes.remove(process)

    def end(self, contender) -> None:
        """Stops a contender."""
        self.stop(next(process for process in self.processes if process.pid == contender.pid))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its descendants so far."""
    ticks = 0
    for member in family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants."""
    pages = 0
    for member in family(pid):
        try:
            pages += int(Path(f"/proc/{member}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")
