"""Very many connections for a while: most of them idle, some busy at a bounded rate. Asked by one thread with asyncio."""

import asyncio
import statistics
import time

from .day import token

HEAD = "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\nAccept: application/json\r\n{more}\r\n"


class Failed(Exception):
    """An answer was not what it should be."""


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, user: int, more: str = "") -> int:
    """Asks once over a kept connection; the length of the answer."""
    writer.write(HEAD.format(path=path, token=token(user), more=more).encode())
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ")[1])
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
    await reader.readexactly(length)
    if status != 200:
        raise Failed(f"{path}: {status}")
    return length


class Soak:
    """`idle` connections that ask once in a while, `busy` clients that share `rate` requests a second."""

    def __init__(self, port: int, paths: list[str], idle: int, busy: int, rate: float, seconds: float):
        self.port, self.paths, self.idle, self.busy, self.rate, self.seconds = port, paths, idle, busy, rate, seconds
        self.times: list[list[float]] = [[] for _ in range(busy)]
        self.failed: list[str] = []
        self.again = 0

    async def _open(self):
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)

    async def _idle(self, number: int, end: float) -> None:
        """Holds a connection open; the server ends it after a while of silence, and another one is made."""
        while time.monotonic() < end:
            try:
                reader, writer = await self._open()
                await ask(reader, writer, self.paths[0], 0)
                # Until the server ends it.
                ended = asyncio.wait_for(reader.read(1), max(0.1, end - time.monotonic()))
                if await ended == b"":
                    self.again += 1
                writer.close()
            except TimeoutError:
                writer.close()
            except (OSError, Failed, asyncio.IncompleteReadError) as error:
                self.failed.append(f"idle {number}: {error!r}")

    async def _busy(self, number: int, end: float) -> None:
        pause = self.busy / self.rate
        await asyncio.sleep(pause * number / self.busy)
        reader, writer = await self._open()
        count = 0
        while time.monotonic() < end:
            path = self.paths[(number + count) % len(self.paths)]
            began = time.monotonic()
            try:
                await ask(reader, writer, path, number % 20)
            except (OSError, Failed, asyncio.IncompleteReadError) as error:
                self.failed.append(f"busy {number}: {error!r}")
                reader, writer = await self._open()
            self.times[number].append(time.monotonic() - began)
            count += 1
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - began)))
        writer.close()

    async def _all(self, watch) -> None:
        end = time.monotonic() + self.seconds
        tasks = []
        for number in range(self.idle):
            tasks.append(asyncio.create_task(self._idle(number, end)))
            if number % 200 == 199:
                # Not all in the same moment: a queue of connections is only so long.
                await asyncio.sleep(0.05)
        tasks += [asyncio.create_task(self._busy(number, end)) for number in range(self.busy)]
        while time.monotonic() < end:
            await asyncio.sleep(min(self.seconds / 40, max(0.0, end - time.monotonic())))
            watch()
        await asyncio.gather(*tasks)

    def run(self, watch) -> None:
        """Runs to its end; `watch` is called some forty times meanwhile."""
        asyncio.run(self._all(watch))

    def per_client(self) -> list[float]:
        """The median time of each busy client, in seconds, the shortest first."""
        return sorted(statistics.median(times) for times in self.times if times)
