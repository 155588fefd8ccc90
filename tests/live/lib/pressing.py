"""Clients of the test's own that press: they count what they say, what comes and what is acknowledged, and read when they are told to."""
import asyncio
import re
import socket
import subprocess
import urllib.request

from by_hand import SM, ByHand

STANZA = re.compile(r"<message(?P<head>[^>]*)>.*?</message>|<(?:presence|iq)[^>]*(?:/>|[^/]>.*?</(?:presence|iq)>)|<a xmlns='%s' h='(?P<h>\d+)'/>|<r xmlns='%s'/>|<stream:error><(?P<error>[\w-]+).*?</stream:error>"
                    % (SM, SM), re.S)
ID, CONDITION = re.compile(r" id='(\w+)-(\d+)'"), re.compile(r"<error [^>]*><([\w-]+)")
RECEIVE_BYTES = 65536


class Presser(ByHand):
    """Says numbered messages, `NAME NUMBER xxx…`. `came` has (who, number) of those that came, `bounced` of those that came back, with the condition; `acked` how many of
    ours are acknowledged by stream management. Nothing is read while `reading` is not set; `over` is set when the connection has ended."""

    def __init__(self, name, domain, address, ca):
        super().__init__(domain, address, ca)
        self.name, self.sent, self.acked, self.came, self.bounced, self.error, self.handled = name, 0, 0, [], [], None, 0
        self.reading, self.news, self.over, self.managed, self.task, self.writing = asyncio.Event(), asyncio.Event(), asyncio.Event(), False, None, None
        self.reading.set()

    async def open(self):
        """A small window: what is not read stays with the gateway, not in megabytes of the kernel's."""
        import ssl
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        sock.setblocking(False)
        await asyncio.get_event_loop().sock_connect(sock, self.address)
        self.reader, self.writer = await asyncio.open_connection(sock=sock, ssl=ssl.create_default_context(cafile=self.ca), server_hostname=self.domain)
        return self

    async def enter(self, password, managed=True, resource="r", presence=True):
        await self.open()
        await self.login(self.name, password)
        await self.bind(resource)
        self.id = await self.enable() if managed else None
        self.managed = managed
        if presence:
            self.say("<presence/>")
            self.sent += 1
        self.go()
        return self

    async def come_back(self, password, old):
        """Resumes the session of another one, whose counts it takes over."""
        await self.open()
        await self.login(self.name, password)
        self.came, self.bounced, self.handled, self.sent, self.managed = old.came, old.bounced, old.handled, old.sent, True
        self.acked = await self.resumed(old.id, old.handled)
        self.go()
        return self.acked is not None

    def go(self):
        self.task = asyncio.get_event_loop().create_task(self.read())

    async def read(self):
        while True:
            if not self.reading.is_set():
                self.writer.transport.pause_reading()
                await self.reading.wait()
                self.writer.transport.resume_reading()
            self.take()
            try:
                more = await self.reader.read(65536)
            except OSError:
                more = b""
            if not more:
                break
            self.text += more.decode()
        self.take()
        self.over.set()
        self.news.set()

    def take(self):
        at = 0
        for m in STANZA.finditer(self.text):
            at, text = m.end(), m.group(0)
            if text.startswith("<message"):
                self.on_message(m.group("head"), text)
            elif text.startswith(("<presence", "<iq")):
                self.handled += 1
            elif text.startswith("<a "):
                self.acked = int(m.group("h"))
            elif text.startswith("<r "):
                self.acknowledge(self.handled)
            else:
                self.error = m.group("error")
        self.text = self.text[at:]
        if at:
            self.news.set()

    def on_message(self, head, text):
        self.handled += 1
        who, number = ID.search(head).groups()
        if " type='error'" in head:
            self.bounced.append((who, int(number), CONDITION.search(text).group(1)))
        else:
            self.came.append((who, int(number)))

    async def until(self, holds, seconds=60):
        """Waits for what it hears."""
        async def wait():
            while not holds():
                self.news.clear()
                await self.news.wait()
        try:
            await asyncio.wait_for(wait(), seconds)
        except asyncio.TimeoutError:
            print(f"   {self.name}: sent {self.sent}, acknowledged {self.acked}, came {len(self.came)}, bounced {len(self.bounced)}, error {self.error}", flush=True)
        return bool(holds())

    def message(self, to, number, size=10):
        return f"<message to='{to}' type='chat' id='{self.name}-{number}'><body>{self.name} {number} {'x' * size}</body></message>"

    async def press(self, to, numbers, size):
        """Writes them all, as fast as it is taken. False: the connection ended before."""
        try:
            for number in numbers:
                self.say(self.message(to, number, size))
                self.sent += 1
                await self.writer.drain()
        except OSError:
            return False
        return True

    def start_pressing(self, to, numbers, size):
        self.writing = asyncio.get_event_loop().create_task(self.press(to, numbers, size))

    async def written(self, seconds=60):
        try:
            return await asyncio.wait_for(self.writing, seconds)
        except asyncio.TimeoutError:
            return False

    async def talk(self, other, rounds, to=None):
        """A message there and one back, so many times; True if every one came. With `to`, the other is an echo."""
        for n in range(rounds):
            number = 1000000 + n
            nr = len(other.came)
            self.say(self.message(to or f"{other.name}@{other.domain}", number))
            self.sent += 1
            if not await other.until(lambda: len(other.came) > nr and other.came[-1] == (self.name, number), 20):
                return False
            if to is None and not await other.talk(self, 1, f"{self.name}@{self.domain}/r"):
                return False
        return True

    def in_order(self, expected):
        if self.came != expected:
            at = next((i for i, pair in enumerate(zip(self.came, expected)) if pair[0] != pair[1]), min(len(self.came), len(expected)))
            print(f"   {self.name} has {len(self.came)}, not {len(expected)}; from {at}: {self.came[at:at + 5]}", flush=True)
        return self.came == expected

    def close(self):
        super().close()
        self.task.cancel()

    def ask(self):
        self.say(f"<r xmlns='{SM}'/>")

    async def leave(self):
        """With a goodbye, so that nothing of it is kept."""
        if self.managed:
            self.acknowledge(self.handled)
        self.say("</stream:stream>")
        await self.until(self.over.is_set, 20)


def account(test, env, user, domain, password):
    subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{test.folder}/sasldb2", "-u", domain, user], input=password.encode(), check=True, env=env)


class Watch:
    """What a gateway shows at /metrics, and what its process weighs."""

    def __init__(self, address, process):
        self.address, self.pid = address, process.pid

    def resident(self):
        return int(open(f"/proc/{self.pid}/statm").read().split()[1]) * 4096

    async def value(self, name):
        page = await asyncio.get_event_loop().run_in_executor(None, lambda: urllib.request.urlopen(f"http://{self.address}/metrics", timeout=20).read().decode())
        return float(next(line for line in page.splitlines() if line.startswith(name + " ")).split()[1])

    async def until(self, name, holds, seconds=60):
        for _ in range(seconds * 20):
            if holds(value := await self.value(name)):
                return True
            await asyncio.sleep(0.05)
        print(f"   {name} is {value}", flush=True)
        return False
