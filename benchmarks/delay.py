"""A line with latency: passes bytes on to a server on this machine, each way after a delay.

``python -m benchmarks.delay LISTEN_PORT SERVER_PORT DELAY_MS [MBIT_PER_S]``: the delay of each way, so that
a question and its answer take twice as long, and the bandwidth of each way, for all connections together; if
it is not given it is what one core can pass on.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import sys

_READ_BYTES = 1 << 20
_BUFFER_BYTES = 4 << 20


class _Pace:
    """When bytes come out at the other end: after the delay, and after those that went in before."""

    def __init__(self, delay_s: float, mbit_per_s: float) -> None:
        self._delay_s = delay_s
        self._bytes_per_s = mbit_per_s * 1e6 / 8
        self._free_s = 0.0

    def due_s(self, now_s: float, size_bytes: int) -> float:
        """When the last of so many bytes come out that go in now."""
        self._free_s = max(self._free_s, now_s) + size_bytes / self._bytes_per_s
        return self._free_s + self._delay_s


class _Way(asyncio.BufferedProtocol):
    """One direction of one connection."""

    def __init__(self, pace: _Pace) -> None:
        self._pace = pace
        self._buffer = bytearray(_READ_BYTES)
        self._to: asyncio.WriteTransport | None = None
        self._early: list[bytes | None] = []
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_BUFFER_BYTES)
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connect_to(self, transport: asyncio.WriteTransport) -> None:
        """Where the bytes go from now on."""
        self._to = transport
        for data in self._early:
            self._pass(data)
        self._early.clear()

    def get_buffer(self, _hint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        self._send(bytes(memoryview(self._buffer)[:size]))

    def eof_received(self) -> bool:
        self._send(None)
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        self._send(None)

    def _send(self, data: bytes | None) -> None:
        due_s = self._pace.due_s(self._loop.time(), len(data or b"."))  # the end comes after all else
        self._loop.call_at(due_s, self._pass, data)

    def _pass(self, data: bytes | None) -> None:
        if self._to is None:
            self._early.append(data)
        elif data is None:
            self._to.close()
        elif not self._to.is_closing():
            self._to.write(data)


async def serve(listen_port: int, server_port: int, delay_s: float, mbit_per_s: float = math.inf) -> None:
    """Pass on until cancelled."""
    loop = asyncio.get_running_loop()
    there, back_again = _Pace(delay_s, mbit_per_s), _Pace(delay_s, mbit_per_s)

    def accept() -> _Way:
        way = _Way(there)

        async def connect() -> None:
            try:
                transport, back = await loop.create_connection(
                    lambda: _Way(back_again), "127.0.0.1", server_port
                )
            except OSError:
                if way._transport is not None:  # noqa: SLF001 - of this module
                    way._transport.abort()  # noqa: SLF001
                return
            way.connect_to(transport)
            assert way._transport is not None  # noqa: SLF001
            back.connect_to(way._transport)  # noqa: SLF001

        tasks.add(task := loop.create_task(connect()))
        task.add_done_callback(tasks.discard)
        return way

    tasks: set[asyncio.Task[None]] = set()
    server = await loop.create_server(accept, "127.0.0.1", listen_port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    ports, figures = sys.argv[1:3], [float(figure) for figure in sys.argv[3:]]
    asyncio.run(serve(int(ports[0]), int(ports[1]), figures[0] / 1e3, *figures[1:]))
