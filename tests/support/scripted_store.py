"""A TCP server that speaks as much RESP as a fault needs: it counts what it is sent and answers as a test tells it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import hiredis

Command = list[bytes]
Answer = Callable[[Command], bytes | None]
OK = b"+OK\r\n"
GREETING = (b"AUTH", b"CLIENT", b"SELECT")


def echo(command: Command) -> bytes:
    """The first argument, as a bulk string."""
    return b"$%d\r\n%b\r\n" % (len(command[1]), command[1])


class ScriptedStore:
    """Answers the sign-in with OK and everything else by ``answer``; None is silence."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.greet: Answer = lambda _: OK
        self.port = 0
        self.accepted = 0
        self.commands: list[Command] = []
        """All but sign-ins."""
        self.writers: list[asyncio.StreamWriter] = []
        self.came: asyncio.Queue[Command] = asyncio.Queue()
        self.open = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open += 1
        self.writers.append(writer)
        parser = hiredis.Reader()
        try:
            while data := await reader.read(65_536):
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    self._take(command, writer)
        except OSError:
            pass
        finally:
            self.open -= 1
            writer.close()

    def _take(self, command: Command, writer: asyncio.StreamWriter) -> None:
        greeting = command[0] in GREETING
        if not greeting:
            self.commands.append(command)
        reply = (self.greet if greeting else self.answer)(command)
        if reply is not None and not writer.is_closing():
            writer.write(reply)
        if not greeting:
            self.came.put_nowait(command)


@asynccontextmanager
async def scripted_store(answer: Answer = echo, *, port: int = 0) -> AsyncIterator[ScriptedStore]:
    """One on a free port, or on the given one."""
    store = ScriptedStore(answer)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await store.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    store.port = server.sockets[0].getsockname()[1]
    try:
        yield store
    finally:
        server.close()
        for writer in store.writers:
            writer.transport.abort()
        if tasks:
            await asyncio.wait(tasks)
        await server.wait_closed()
