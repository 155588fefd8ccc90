#!/usr/bin/env python3
"""ambrosia-echo and echo.py, which was written from PROTOCOL.md alone, behind the same gateway and through the same checks: stanzas of all sizes come back, links that
are cut are noticed by nobody, a client that lost its connection resumes, and SIGTERM withdraws."""
import asyncio
import os
import re
import shutil
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from slixmpp.exceptions import IqError  # noqa: E402
from by_hand import ByHand  # noqa: E402
from stack import BUILD, HERE, Test, accounts, ready, run, word_in  # noqa: E402
from resuming import Resuming  # noqa: E402

AROUND = "127.0.0.2"     # where services are told that the gateway is: relays are there, at the same ports
DOMAIN, WORKERS, SIZES = "echo.example", 2, (1, 10, 1000, 16384, 40000, 200000)
SERVICES = {"ambrosia-echo": [f"{BUILD}/services/echo/ambrosia-echo"],
            "echo.py": ["/usr/bin/python3", os.path.join(HERE, "..", "..", "..", "services", "echo", "echo.py")]}
FLOOD = 1500
ROUNDS = 4      # links cut under a running conversation


class Echoed(Resuming):
    """Sends numbers, followed by as many letters as asked for, and expects each back once, in order."""

    def __init__(self, *args):
        super().__init__(*args)
        self.peer, self.came, self.bounced = f"anybody@{DOMAIN}", asyncio.Event(), []

    def say(self, size=0):
        self.sent += 1
        self.give(f"{self.sent}" + "x" * size)

    def on_message(self, m):
        number = m["body"].rstrip("x")
        if m["type"] == "error" and m["error"]["condition"] == "resource-constraint":
            self.bounced.append(m["id"])
        elif m["type"] == "error" or m["from"].bare != self.peer:
            self.strange.append(str(m)[:300])
        else:
            self.inbox.append((int(number), len(m["body"]) - len(number)))
        self.came.set()

    def on_acked(self, stanza):
        if stanza.name == "message":
            self.acked.add(int(stanza["body"].rstrip("x")))
            self.came.set()

    async def until(self, holds, seconds=30):
        async def wait():
            while not holds():
                self.came.clear()
                await self.came.wait()
        try:
            await asyncio.wait_for(wait(), seconds)
        except asyncio.TimeoutError:
            print(f"   sent {self.sent}, came back {len(self.inbox)}, acknowledged {len(self.acked)}, strange {self.strange[:1]}", flush=True)
        return holds()

    def is_live(self):
        super().is_live()
        self.came.set()

    def all_back(self):
        return len(self.inbox) >= self.sent

    def in_order(self):
        return [n for n, _ in self.inbox] == list(range(1, self.sent + 1)) and not self.strange


class Relay:
    """A TCP relay to one port of the gateway; cut() resets what runs through it at that time, as a network does that lost its state."""

    def __init__(self, port):
        self.target, self.writers, self.linked = port, set(), asyncio.Event()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, AROUND, self.target)

    async def serve(self, reader, writer):
        there = await asyncio.open_connection("127.0.0.1", self.target)
        pair = (writer, there[1])
        self.writers.update(pair)
        self.linked.set()
        await asyncio.gather(self.pump(reader, there[1]), self.pump(there[0], writer))
        self.writers.difference_update(pair)
        if not self.writers:    # a service may hang up by itself, to dial anew
            self.linked.clear()

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def cut(self):
        """How many connections that were."""
        writers, self.writers = self.writers, set()
        self.linked.clear()
        for writer in writers:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return len(writers) // 2


class Story:
    def __init__(self, test, name, passwords, trust, ports, relays):
        self.test, self.name, self.passwords, self.trust, self.relays = test, name, passwords, trust, relays
        self.address, self.direct = [("127.0.0.1", int(ports[c].rpartition(":")[2])) for c in ("c2s", "c2s-direct")]

    def check(self, what, ok):
        self.test.check(f"{self.name}: {what}", ok)

    async def enter(self, user):
        client = Echoed(f"{user}@{DOMAIN}", self.passwords[user], self.trust, lambda: self.address)
        client.enter()
        self.check(f"{user} is in", await client.until(lambda: client.live))
        return client

    async def sizes(self, clients):
        for client in clients:
            for size in SIZES:
                client.say(size)
        back = [await client.until(client.all_back) for client in clients]
        right = all([size for _, size in c.inbox] == list(SIZES) and c.in_order() for c in clients)
        self.check("messages of 1 byte to 200 KB come back whole and in order", all(back) and right)

    async def cuts(self, clients):
        """Messages are on their way in both directions whenever the links break."""
        ended = 0
        for _ in range(ROUNDS):
            for client in clients:
                for size in (10, 30000, 100, 30000):
                    client.say(size)
            came = [len(c.inbox) for c in clients]
            await clients[0].until(lambda: len(clients[0].inbox) > came[0])
            for relay in self.relays:
                await asyncio.wait_for(relay.linked.wait(), 30)
                ended += relay.cut()
            for client in clients:
                client.say(1000)
            for client in clients:
                await client.until(client.all_back)
        self.check(f"{ended} links were cut, and every message came back once, in order", ended >= ROUNDS * WORKERS and all(c.in_order() for c in clients))
        self.check("no client noticed", all(c.live and c.sessions == 1 and not c.resumed for c in clients))

    async def resumption(self, client):
        for round in range(1, 4):
            for size in (10, 30000, 10):
                client.say(size)
            client.xmpp.abort()
            await client.until(lambda: client.resumed == round)
            client.say(10)
        await client.until(client.all_back)
        self.check("a client whose connection was cut three times resumed", client.resumed == 3 and client.sessions == 1)
        self.check("and lost and repeated nothing", client.in_order())
        client.ask()
        self.check("and all that it sent is acknowledged", await client.until(lambda: len(client.acked) == client.sent))

    async def flood(self, client):
        """Far more at once than may be unacknowledged, so that the client's own acknowledgements stand behind it: each comes back, or an error in its place."""
        before = len(client.inbox)
        for _ in range(FLOOD):
            client.say(1000)
        back = await client.until(lambda: len(client.inbox) - before + len(client.bounced) >= FLOOD, 90)
        came, errors = len(client.inbox) - before, len(client.bounced)
        self.check(f"of a flood of {FLOOD}, {came} come back and {errors} as errors", back and came + errors == FLOOD and len(set(client.bounced)) == errors)
        self.check("in order, and nothing else", sorted(client.inbox) == client.inbox and not client.strange)
        client.ask()
        self.check("and all of it is acknowledged", await client.until(lambda: len(client.acked) == client.sent))

    async def errors(self, client):
        """An iq is no message: with `to` or, for the client's own account, without."""
        said = []
        for to in (client.peer, None):
            try:
                await client.xmpp.make_iq_get(queryxmlns="urn:example:nothing", ito=to).send(timeout=20)
            except IqError as e:
                said.append(e.iq["error"]["condition"])
        self.check("an iq is answered by an error", said == ["service-unavailable"] * 2)

    async def acknowledgement(self, user):
        """A message whose echo the client has, and has not acknowledged, is not acknowledged either before a second is over. A machine that is slow has more tries."""
        client, count = await ByHand(DOMAIN, self.direct, self.trust).open(), 0
        entered = await client.login(user, self.passwords[user]) and await client.bind("hand")
        previd = entered and await client.enable()
        self.check("a client by hand is in", previd)
        for _ in range(20):
            began = asyncio.get_event_loop().time()
            client.say(f"<message to='anybody@{DOMAIN}' type='chat'><body>{count}</body></message>")
            back = await client.hear(f"<body>{count}</body>")
            client.say("<r xmlns='urn:xmpp:sm:3'/>")
            h = await client.hear("<a xmlns='urn:xmpp:sm:3' h='([0-9]*)'/>")
            if not back or not h or asyncio.get_event_loop().time() - began < 0.9:
                break
            count += 1
            client.acknowledge(count)
            await client.acknowledged(count)
        self.check("a message is not acknowledged before its echo is", back and h and int(h.group(1)) == count)
        client.acknowledge(count + 1)
        self.check("and then is", await client.acknowledged(count + 1))
        client.close()
        client = await ByHand(DOMAIN, self.direct, self.trust).open()
        await client.login(user, self.passwords[user])
        client.resume(previd, count + 2)
        self.check("who claims to have more than was sent does not resume", await client.hear("<handled-count-too-high "))
        client.close()

    async def play(self):
        clients = [await self.enter(user) for user in self.passwords]
        await self.errors(clients[0])
        await self.sizes(clients)
        await self.cuts(clients)
        await self.resumption(clients[0])
        await self.flood(clients[1])
        await self.acknowledgement(clients[2].xmpp.boundjid.user)
        ends = [client.xmpp.disconnected for client in clients]
        for client in clients:
            client.leave()
        await asyncio.wait(ends, timeout=10)


async def endpoints(test):
    """The ports that the workers announce, once all have."""
    for worker in range(WORKERS):
        await word_in(f"{test.folder}/gateway.log", f"w{worker} registry - synced")
    found = set()
    while len(found) < WORKERS:
        found = {int(p) for p in re.findall(rf"entry kind=gateway name=tcp://{AROUND}:(\d+)", open(f"{test.folder}/gateway.log").read())}
        await asyncio.sleep(0.05)
    return found


async def stories(test, passwords, state, ports):
    relays = [Relay(p) for p in await asyncio.wait_for(endpoints(test), 30)]
    for relay in relays:
        await relay.start()
    named = ["--registry", open(f"{state}/registry").read().strip(), "--key", f"{state}/service.key"]
    for (name, command), where in zip(SERVICES.items(), (["--state-dir", state], named)):
        for relay in relays:
            relay.linked.clear()
        process = test.start(name, [*command, "--domain", DOMAIN, *where])
        await asyncio.get_event_loop().run_in_executor(None, ready, process)
        await Story(test, name, passwords, f"{state}/self-signed.crt", ports, relays).play()
        at = os.path.getsize(f"{test.folder}/gateway.log")
        status = await asyncio.get_event_loop().run_in_executor(None, test.stop, name)
        test.check(f"{name}: ends with status 0 at SIGTERM", status == 0)
        test.check(f"{name}: has withdrawn its domain", await word_in(f"{test.folder}/gateway.log", "withdrawn kind=registration", start=at))


def small(test):
    """It shows how small a service may be."""
    lines = open(SERVICES["echo.py"][1]).read().splitlines()
    test.check(f"echo.py: {len(lines)} lines, of which none has more than 140 columns", len(lines) <= 200 and max(map(len, lines)) <= 140)


def open_key(test, state):
    """A key that others may read is none."""
    path = f"{test.folder}/open.key"
    shutil.copy(f"{state}/service.key", path)
    os.chmod(path, 0o644)
    for name, command in SERVICES.items():
        ended = subprocess.run([*command, "--domain", DOMAIN, "--state-dir", state, "--key", path], capture_output=True, timeout=30)
        test.check(f"{name}: a key that others may read is refused with status 1", ended.returncode == 1 and b"others" in ended.stderr)


def main():
    test = Test("live.echo_py")
    env, passwords = accounts(test, DOMAIN, ("alice", "bella", "carol", "diana"))
    state = f"{test.folder}/state"
    ports = ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "127.0.0.1:0", "--c2s-direct", "127.0.0.1:0", "--s2s", "none",
                                         "--svc", "tcp://127.0.0.1:0", "--svc-advertise", AROUND, "--registry-bind", "tcp://127.0.0.1:0", "--public-host", DOMAIN,
                                         "--certs", f"{test.folder}/none", "--workers", str(WORKERS), "--log-level", "debug"], env))
    run(test, stories(test, passwords, state, ports), 240)
    open_key(test, state)
    small(test)
    test.check("the gateway ends with status 0 at SIGTERM", test.stop("gateway") == 0)
    test.finish()


main()
