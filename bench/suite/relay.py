"""A long way to Alyx, on loopback: what goes through arrives later."""

import asyncio
import threading


class Relay:
    """Listens on `port`, and passes on to another port of this machine: each piece `delay` seconds later, and each new
    connection as much later as the handshake of TCP would take."""

    def __init__(self, to: int, delay: float):
        self.to, self.delay = to, delay
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._relay, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self.delay)
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self.to)
        try:
            await asyncio.gather(self._pass(reader, onward_writer), self._pass(onward_reader, writer))
        except (OSError, asyncio.CancelledError):
            onward_writer.close()
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pieces overlap on their way: a delay is none of throughput."""
        pieces: asyncio.Queue = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(max(0.0, due - self.loop.time()))
                if not piece:
                    writer.close()
                    return
                writer.write(piece)
                await writer.drain()

        delivering = asyncio.ensure_future(deliver())
        try:
            while piece := await reader.read(1 << 16):
                pieces.put_nowait((self.loop.time() + self.delay, piece))
        except OSError:
            pass
        pieces.put_nowait((self.loop.time() + self.delay, b""))
        await delivering

    def close(self) -> None:
        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.loop.stop()

        asyncio.run_coroutine_threadsafe(end(), self.loop)
        self.thread.join(5)
        self.loop.close()
