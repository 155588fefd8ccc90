"""A real client in a process of its own. It is told what to do in lines of tab-separated fields, and tells what it sees in the same way:

    login JID PASSWORD HOST PORT MECHANISM      online JID | refused WHY
    roster                                      item JID SUBSCRIPTION ASK NAME GROUP …, then roster
    add JID NAME GROUP, remove JID              done JID; push JID SUBSCRIPTION ASK NAME to every session
    presence TYPE TO SHOW PRIORITY              presence FROM TYPE SHOW CONDITION
    message TO TYPE BODY                        message FROM TYPE BODY DELAY CONDITION
    ping TO, disco TO                           pong TO; disco TO CATEGORY/TYPE FEATURES
    close                                       closed
    (anything that was answered by an error)    iq-error TO CONDITION
"""
import asyncio
import os

SECONDS = 30


class Peer:
    """One client process; `name` is for the reports, `log` takes what it writes to stderr."""

    def __init__(self, name):
        self.name, self.seen, self.news = name, [], asyncio.Event()
        self.process = self.reading = None

    async def start(self, command, ca, log):
        env = dict(os.environ, INTEROP_CA=ca, NODE_EXTRA_CA_CERTS=ca)
        with open(log, "ab") as stderr:
            self.process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                                                                stderr=stderr, env=env)
        self.reading = asyncio.ensure_future(self.read())

    async def read(self):
        while line := await self.process.stdout.readline():
            self.seen.append(line.decode().rstrip("\n").split("\t"))
            self.news.set()

    def tell(self, *fields):
        self.process.stdin.write(("\t".join(map(str, fields)) + "\n").encode())

    def take(self, wanted):
        """The first event whose leading fields are these (None: any), no longer pending then; None when there is none."""
        for event in self.seen:
            if len(event) >= len(wanted) and all(w is None or w == e for w, e in zip(wanted, event)):
                self.seen.remove(event)
                return event
        return None

    async def expect(self, *wanted, seconds=SECONDS):
        """Waits for such an event; None after that time, with a word on what came instead."""
        end = asyncio.get_event_loop().time() + seconds
        while not (event := self.take(wanted)):
            self.news.clear()
            try:
                await asyncio.wait_for(self.news.wait(), end - asyncio.get_event_loop().time())
            except asyncio.TimeoutError:
                print(f"   {self.name} waits for {wanted}; pending: {self.seen}", flush=True)
                return None
        return event

    async def stop(self):
        """Without a farewell: what a crash or a dead battery looks like from the server."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self.reading
