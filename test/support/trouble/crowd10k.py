"""Thousands of clients in one thread: each logs in, waits for all the others, asks once, gets its own answer."""
import asyncio
import struct
import time

from pgwire import messages as m


async def _until_ready(reader):
    rows = []
    while True:
        kind, length = struct.unpack("!ci", await reader.readexactly(5))
        body = await reader.readexactly(length - 4)
        if kind == b"D":
            rows.append(m.data_row(body))
        elif kind == b"E":
            raise RuntimeError(str(m.error_fields(body)))
        elif kind == b"Z":
            return rows


async def _client(number, port, gate, everybody, told):
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(m.startup(user="postgres", database="test"))
        await _until_ready(reader)
    told["connected"] += 1
    if told["connected"] == told["wanted"]:
        told["all_connected_at"] = time.monotonic()
        everybody.set()
    await everybody.wait()
    writer.write(m.query(f"select {number}"))
    rows = await _until_ready(reader)
    if rows != [[str(number)]]:
        raise RuntimeError(f"client {number} got {rows}")
    told["served"] += 1
    return writer


async def _run(port, count, seconds, meanwhile):
    gate, everybody = asyncio.Semaphore(400), asyncio.Event()
    told = {"wanted": count, "connected": 0, "served": 0}
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        writers = await asyncio.gather(*(_client(n, port, gate, everybody, told) for n in range(count)))
    told["connecting_took"] = told["all_connected_at"] - began
    told["serving_took"] = time.monotonic() - told["all_connected_at"]
    told["meanwhile"] = meanwhile() if meanwhile else None
    for writer in writers:
        writer.transport.abort()
    return told


def crowd(port, count, seconds=120, meanwhile=None):
    """`meanwhile` is called while all are connected."""
    return asyncio.run(_run(port, count, seconds, meanwhile))
