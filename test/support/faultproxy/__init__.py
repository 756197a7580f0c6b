"""A TCP relay that misbehaves on command: the network between the proxy under test and its server.

It runs on a thread of its own and is steered from the test by plain method calls, each of which returns once it is in
force. Faults that change what happens to bytes (stall, latency, dribble, cut) hold for open and for new connections.
"""
import asyncio
import contextlib
import socket
import struct
import threading
import time

CHUNK = 64 * 1024


class Link:
    """One relayed connection: the accepted socket and, unless it fell into a black hole, the one to the target."""

    def __init__(self, near):
        self.near = near
        self.far = None
        self.tasks = []
        self.ended = 0  # directions that have seen an orderly end

    def sockets(self):
        return [s for s in (self.near, self.far) if s is not None]

    def close(self, loop, reset):
        for task in self.tasks:
            task.cancel()
        for s in self.sockets():
            # Taken off the loop first: the number of a closed socket may be a new connection's a moment later.
            loop.remove_reader(s)
            loop.remove_writer(s)
            with contextlib.suppress(OSError):
                if reset:  # linger 0: close() sends RST and throws away what was buffered
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.close()


class FaultProxy:
    def __init__(self, target_port, target_host="127.0.0.1", port=0):
        self.target = (target_host, target_port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faultproxy", daemon=True)
        self._links = set()
        self._listener = None
        self._acceptor = None
        self._black_hole = False
        self._flowing = None  # asyncio.Event: cleared while stalled
        self._latency = 0.0
        self._dribble = None  # (bytes, pause)
        self._cut = None      # bytes from the target each connection may still carry
        self.accepted_at = []  # time.monotonic() of every accepted connection
        # The port is kept while refusing, by a bound socket that does not listen: nobody else can take it.
        self._bound = self._bind(port)
        self.port = self._bound.getsockname()[1]

    # --- life -------------------------------------------------------------------------------------------------------
    def start(self):
        self._thread.start()
        self._call(self._set_up())
        return self

    def stop(self):
        if self._thread.is_alive():
            self._call(self._tear_down())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
        if self._bound is not None:
            self._bound.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # --- faults -----------------------------------------------------------------------------------------------------
    def pass_through(self):
        """Everything works again; links that fell into the black hole stay there, as they would."""
        self._call(self._pass_through())

    def refuse(self, reset=True):
        """Nothing listens: new connections are refused; existing ones are reset unless told otherwise."""
        self._call(self._refuse(reset))

    def black_hole(self, reset=True):
        """New connections are accepted and never answered."""
        self._call(self._set_black_hole(reset))

    def reset_all(self):
        """RST on every open connection, now. Returns how many there were."""
        return self._call(self._reset_all())

    def stall(self):
        """Half-open: connections stay, nothing is forwarded either way."""
        self._call(self._stall())

    def latency(self, seconds):
        self._latency = seconds

    def dribble(self, size=1, pause=0.001):
        self._dribble = (size, pause)

    def cut_after(self, count):
        """Each connection is reset once it has carried so many bytes from the target."""
        self._cut = count

    def connections(self):
        return len(self._links)

    # --- on the loop ------------------------------------------------------------------------------------------------
    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    @staticmethod
    def _bind(port):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        s.setblocking(False)
        return s

    async def _set_up(self):
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._listen()

    def _listen(self):
        if self._acceptor is not None:
            return
        if self._bound is None:
            self._bound = self._bind(self.port)
        self._bound.listen(1024)
        self._listener, self._bound = self._bound, None
        self._acceptor = self._loop.create_task(self._accept())

    async def _stop_listening(self):
        if self._acceptor is None:
            return
        self._acceptor.cancel()
        await asyncio.gather(self._acceptor, return_exceptions=True)
        self._acceptor = None
        self._listener.close()
        self._listener = None
        self._bound = self._bind(self.port)

    async def _accept(self):
        while True:
            near, _ = await self._loop.sock_accept(self._listener)
            near.setblocking(False)
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted_at.append(time.monotonic())
            link = Link(near)
            self._links.add(link)
            if not self._black_hole:
                link.tasks.append(self._loop.create_task(self._relay(link)))

    async def _relay(self, link):
        try:
            link.far = socket.socket()
            link.far.setblocking(False)
            link.far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(link.far, self.target)
        except OSError:
            self._drop(link, reset=True)
            return
        link.tasks.append(self._loop.create_task(self._pump(link, link.near, link.far, False)))
        link.tasks.append(self._loop.create_task(self._pump(link, link.far, link.near, True)))

    async def _pump(self, link, source, sink, from_target):
        carried = 0
        try:
            while data := await self._loop.sock_recv(source, CHUNK):
                await self._flowing.wait()
                if self._latency:
                    await asyncio.sleep(self._latency)
                if from_target and self._cut is not None and carried + len(data) > self._cut:
                    await self._loop.sock_sendall(sink, data[: max(0, self._cut - carried)])
                    await asyncio.sleep(0.02)  # what was allowed arrives before the reset overtakes it
                    self._drop(link, reset=True)
                    return
                carried += len(data)
                await self._forward(sink, data)
            await self._flowing.wait()
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
            link.ended += 1
            if link.ended == 2:
                self._drop(link, reset=False)
        except OSError as error:
            self._drop(link, reset=isinstance(error, (ConnectionResetError, BrokenPipeError)))

    async def _forward(self, sink, data):
        if self._dribble is None:
            await self._loop.sock_sendall(sink, data)
            return
        size, pause = self._dribble
        for at in range(0, len(data), size):
            await self._loop.sock_sendall(sink, data[at:at + size])
            await asyncio.sleep(pause)

    def _drop(self, link, reset):
        if link in self._links:
            self._links.discard(link)
            link.close(self._loop, reset)

    async def _reset_all(self):
        links = list(self._links)
        for link in links:
            self._drop(link, reset=True)
        await asyncio.sleep(0)
        return len(links)

    async def _pass_through(self):
        self._black_hole = False
        self._latency, self._dribble, self._cut = 0.0, None, None
        self._flowing.set()
        self._listen()

    async def _refuse(self, reset):
        await self._stop_listening()
        if reset:
            await self._reset_all()

    async def _set_black_hole(self, reset):
        self._black_hole = True
        self._listen()
        if reset:
            await self._reset_all()

    async def _stall(self):
        self._flowing.clear()

    async def _tear_down(self):
        await self._stop_listening()
        tasks = [task for link in self._links for task in link.tasks]
        await self._reset_all()
        await asyncio.gather(*tasks, return_exceptions=True)
