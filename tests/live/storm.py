#!/usr/bin/env python3
"""A storm of newcomers at a gateway that has little time for them: who is admitted first, what the others feel, and who is turned away; and a drain at the pace of what the
other gateways can take, which no newcomer at the door holds up."""
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import namespace  # noqa: E402
from stack import Test, run, word_in  # noqa: E402
from by_hand import ByHand  # noqa: E402
from cluster import CTL, one_service, until  # noqa: E402

DOMAIN = "capulet.example"
USERS = ("juliet", "nurse")
NEW, RETURNING, ROW = 30, 12, 7
LITTLE = ("--handshake-share", "1", "--handshake-idle", "0")


class Newcomer:
    """A TLS client that has said its ClientHello and waits, with or without a ticket of an earlier session."""

    def __init__(self, address, trust, session=None):
        context, kept = session or (ssl.create_default_context(cafile=trust), None)
        raw = socket.create_connection(address)
        self.port = raw.getsockname()[1]
        self.tls = context.wrap_socket(raw, server_hostname=DOMAIN, do_handshake_on_connect=False, session=kept)
        self.tls.setblocking(False)
        self.step()

    def step(self):
        """True once the handshake is done; an error if it never will be."""
        try:
            self.tls.do_handshake()
            return True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False

    def turned_away(self):
        try:
            return self.step() and False
        except OSError:
            return True


def ticket(address, trust):
    """(context, session) of a connection that was let in."""
    context = ssl.create_default_context(cafile=trust)
    with context.wrap_socket(socket.create_connection(address), server_hostname=DOMAIN) as tls:
        tls.sendall(f"<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>".encode())
        tls.recv(4096)      # TLS 1.3's tickets come before it
        return context, tls.session


class Story:
    def __init__(self, test):
        self.test = test
        self.c = one_service(test, DOMAIN, USERS)

    async def start(self):
        self.c.start_registry("r1")
        for name, *flags in (("g1", *LITTLE, "--handshake-wait", "60"), ("g2", *LITTLE, "--handshake-wait", "1")):
            self.c.start_gateway(name, "--http", "127.0.0.1:0", *flags)
        await self.c.start_linked_im(DOMAIN, "r1", ("g1", "g2"))

    def direct(self, gateway):
        return self.c.place(gateway)[1], int(self.c.ports[gateway]["c2s-direct"])

    def metric(self, gateway, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.c.ports[gateway]['http']}/metrics", timeout=20) as answer:
            return float(re.search(f"^{re.escape(name)} (.*)$", answer.read().decode(), re.M).group(1))

    def waiting(self, gateway):
        return self.metric(gateway, "ambrosia_handshakes_waiting")

    async def enter(self, user, gateway):
        client = await ByHand(DOMAIN, self.direct(gateway), self.c.trust).open()
        if not await client.login(user, self.c.passwords[user]) or not await client.bind("phone"):
            raise RuntimeError(f"{user} does not get in")
        client.say("<presence/>")
        await client.hear("<presence[^>]*>")
        return client

    def order(self, gateway, ports):
        """The ports, in the order in which their handshakes were done."""
        numbers, done = {}, []
        for line in self.c.log(gateway).splitlines():
            if found := re.search(r" c2s (\d+) accept .*port=(\d+)", line):
                numbers[found.group(1)] = int(found.group(2))
            elif (found := re.search(r" c2s (\d+) tls ", line)) and numbers.get(found.group(1)) in ports:
                done.append(numbers[found.group(1)])
        return done

    async def chat(self, one, other, number):
        for i in range(number):
            one.say(f"<message to='nurse@{DOMAIN}/phone' type='chat'><body>{i}</body></message>")
            if not await other.hear(f"<body>{i}</body>"):
                return False
        return True

    async def admission(self):
        check = self.test.check
        session = ticket(self.direct("g1"), self.c.trust)
        juliet, nurse = await self.enter("juliet", "g1"), await self.enter("nurse", "g1")
        new = [Newcomer(self.direct("g1"), self.c.trust) for _ in range(NEW)]
        returning = [Newcomer(self.direct("g1"), self.c.trust, session) for _ in range(RETURNING)]
        ports = {one.port: "new" for one in new} | {one.port: "returning" for one in returning}
        check("many wait", await until(lambda: self.waiting("g1") > RETURNING))
        before = len(self.order("g1", ports))
        check("meanwhile those who are in chat on", await self.chat(juliet, nurse, 20))
        check("and nothing of that had to wait until the others were in", self.waiting("g1") > 0 and len(self.order("g1", ports)) - before < NEW)
        check("all get in, one after the other", await until(lambda: all([one.step() for one in new + returning]), 60))
        kinds = [ports[port] for port in self.order("g1", ports)]
        first = kinds.index("returning")
        row = kinds[first:]
        print("   " + "".join(kind[0] for kind in kinds), flush=True)
        last = len(row) - row[::-1].index("returning")
        check("who was here before goes first", row[:last].count("new") <= (RETURNING // ROW) + 2 and row[last:].count("new") > 0)
        check("/metrics: as many had to wait", self.metric("g1", "ambrosia_handshakes_delayed_total") >= RETURNING and self.waiting("g1") == 0)
        check("/metrics: the long step of each ran beside the worker",
              self.metric("g1", "ambrosia_handshake_steps_beside_total") >= NEW + RETURNING)
        check("the log told of it", " handshakes - crowded waiting=" in self.c.log("g1"))
        for one in new + returning:
            one.tls.close()
        for client in (juliet, nurse):
            client.close()

    async def shedding(self):
        check = self.test.check
        juliet, nurse = await self.enter("juliet", "g2"), await self.enter("nurse", "g2")
        crowd = [Newcomer(self.direct("g2"), self.c.trust) for _ in range(60)]
        check("who has waited for a second is turned away", await until(lambda: any([one.turned_away() for one in crowd])))
        check("those who are in notice nothing", await self.chat(juliet, nurse, 5))
        check("the log says so once a second", await word_in(f"{self.c.folder}/g2.log", "shed"))
        check("each of them has its line", await word_in(f"{self.c.folder}/g2.log", "reason=crowded"))
        check("/metrics: refused, crowded", self.metric("g2", 'ambrosia_connections_refused_total{reason="crowded"}') > 0)
        check("in the end nobody waits", await until(lambda: self.waiting("g2") == 0 and all([one.turned_away() or one.step() for one in crowd])))
        for client in (juliet, nurse):
            client.close()

    def ctl(self, *words):
        return subprocess.run([CTL, "--registry", self.c.known(), "--key", f"{self.c.folder}/admin.key", *words], capture_output=True, text=True,
                              timeout=60, env=self.c.env)

    def rooms(self):
        """What each gateway has announced, by its host."""
        return {row["public-host"]: row["room"] for row in json.loads(self.ctl("--json", "gateways").stdout)}

    async def drain(self):
        """Evenly over an hour the first of these clients would leave after five minutes: the others' room lets all go, each to have its part."""
        check = self.test.check
        for name in ("g3", "g4"):
            self.c.start_gateway(name, "--http", "127.0.0.1:0", "--handshake-share", "100")
        check("two gateways come that have time", await word_in(f"{self.c.folder}/im.log", "gateways=4") and await self.c.same_views(("r1",), ("g3", "g4")))
        clients = []
        for i in range(12):
            client = await ByHand(DOMAIN, self.direct("g3"), self.c.trust).open()
            if not await client.login("nurse", self.c.passwords["nurse"]) or not await client.bind(f"r{i}"):
                raise RuntimeError("the nurse does not get in")
            clients.append(client)
        done = self.ctl("drain", "g3.example", "--over", "3600", "--no-wait")
        check("one of them drains", done.returncode == 0)
        hosts = [found.group(1) if (found := await client.hear("<see-other-host[^>]*>([^<]*)<")) else None for client in clients]
        to = [host.split(":")[0] for host in hosts if host]
        check("its clients leave as fast as the others have room, not evenly", len(to) == len(clients))
        room = self.rooms()
        part = len(clients) * (room["g4.example"] + 1) / sum(n + 1 for name, n in room.items() if name != "g3.example")
        print(f"   {room} {part:.1f} {to}", flush=True)
        check("there is room where much of the time may go to newcomers", part > len(clients) * 2 / 3)
        check("each has as many as it has room for", abs(to.count("g4.example") - part) < 2 and "g3.example" not in to)
        for client in clients:
            client.close()

    async def leaving(self):
        """Who waits at the door when a drain ends the rest is closed at once: the patience at the door is a minute here."""
        accepted = self.metric("g1", "ambrosia_connections_accepted_total")
        crowd = [Newcomer(self.direct("g1"), self.c.trust) for _ in range(60)]
        check, ports = self.test.check, {one.port for one in crowd}
        check("many wait at a gateway that is to be drained", await until(lambda: self.metric("g1", "ambrosia_connections_accepted_total") == accepted + len(crowd))
              and self.waiting("g1") > 2 * RETURNING)
        check("it drains", self.ctl("drain", "g1.example", "--over", "1", "--no-wait").returncode == 0)
        check("and soon nobody waits", await until(lambda: [one.turned_away() for one in crowd] and self.waiting("g1") == 0, 60))
        check("they were closed without a handshake", len(self.order("g1", ports)) < len(crowd) - RETURNING)

    async def idle_time(self):
        """By its share alone it would have room for 4: a hundredth of a second, two ms each as long as nobody was seen, rounded down."""
        self.c.start_gateway("g5", "--handshake-share", "1", "--handshake-idle", "100")
        check = self.test.check
        check("a gateway comes that may take all idle time for newcomers", await until(lambda: "g5.example" in self.rooms()))
        check("it has room for as many as are worth it", await until(lambda: self.rooms()["g5.example"] >= 16, 60))
        print(f"   {self.rooms()}", flush=True)

    async def play(self):
        await self.start()
        await self.admission()
        await self.shedding()
        await self.drain()
        await self.leaving()
        if os.path.exists("/proc/self/schedstat"):   # else no gateway knows of idle time
            await self.idle_time()


def main():
    namespace.enter()
    test = Test("live.storm")
    run(test, Story(test).play(), 240)
    test.finish()


main()
