#!/usr/bin/env python3
"""Stock clients with stream management, unmodified, while the gateways die in turn: @xmpp/client comes back by itself, resumes at the other gateway, and what it saw
acknowledged has arrived, in order, once. slixmpp 1.8.3 resumes too, but throws away what was not acknowledged: that may be missing, nothing else.

@xmpp/client 0.14 takes a stanza for sent when its socket's write has called back, and only then waits for its acknowledgement. Where that one is faster, the library's list of
what is not acknowledged is a stanza too long from there on, and at each resumption it sends the last one again although `<resumed/>` has counted it. Such a repetition is told
apart here by that count, and reported; `--late` brings it about."""
import argparse
import asyncio
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "..", "live", "lib")]
import npm  # noqa: E402
from stack import Test, run  # noqa: E402
from cluster import Cluster, until, wait_ready  # noqa: E402
from resuming import Pairs, Resuming  # noqa: E402

DOMAIN = "stock.example"
GATEWAYS = ("g1", "g2")
USERS = ("romeo", "juliet", "nurse", "tybalt")


class Front:
    """One address before all gateways, as clients are configured with: each connection goes to one that is alive."""

    def __init__(self, where):
        self.where = where

    async def open(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        try:
            there = await asyncio.open_connection(*self.where())
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self.pass_on(reader, there[1]), self.pass_on(there[0], writer))

    async def pass_on(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()


class Stock:
    """One @xmpp/client."""

    def __init__(self, name, late_ms=0):
        self.name, self.late_ms, self.sessions, self.resumed, self.sent, self.acked, self.got, self.marked, self.strange = name, late_ms, 0, 0, 0, [], [], [], []
        self.counted, self.needless = 0, []   # h of the last <resumed/>; what was sent again although that h has it

    async def start(self, c, port, peer):
        env = dict(os.environ, PASSWORD=c.passwords[self.name], NODE_EXTRA_CA_CERTS=c.trust, LATE=str(self.late_ms))
        command = ["node", f"{HERE}/drivers/xmppjs_pairs.mjs", self.name, DOMAIN, f"xmpp://127.0.0.1:{port}", f"{peer}@{DOMAIN}"]
        with open(f"{c.folder}/{self.name}.log", "ab") as log:
            self.process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, env=env)
        self.task = asyncio.ensure_future(self.listen())

    async def listen(self):
        while line := await self.process.stdout.readline():
            word, _, rest = line.decode().strip().partition(" ")
            if word == "session":
                self.sessions += 1
            elif word == "resumed":
                self.resumed += 1
            elif word == "sent":
                self.sent = int(rest)
            elif word == "counted":
                self.counted = int(rest)
            elif word == "again":
                # Message n is stanza n, and one later for each that came twice before.
                if int(rest) + len(self.needless) <= self.counted:
                    self.needless.append(int(rest))
            elif word in ("ack", "got", "marked") and rest.isdigit():
                {"ack": self.acked, "got": self.got, "marked": self.marked}[word].append(int(rest))
            else:
                self.strange.append(line)

    def repeated(self):
        """What came twice."""
        return [n for i, n in enumerate(self.got) if n in self.got[:i]]

    def firsts(self):
        return list(dict.fromkeys(self.got))

    def tell(self, word):
        self.process.stdin.write(f"{word}\n".encode())

    async def stop(self):
        self.process.kill()
        await self.process.wait()
        await self.task


class Story:
    def __init__(self, test, late_ms):
        self.test, self.late_ms = test, late_ms
        self.c = Cluster(test, [DOMAIN], USERS, {"gateway": "gateway", "admin": "admin", "im": f"service {DOMAIN}:client,server"})
        self.c.authorise()
        self.alive = list(GATEWAYS)

    def where(self):
        self.alive.append(self.alive.pop(0))
        return self.c.c2s(self.alive[0])

    async def deaths(self):
        for name in GATEWAYS * 2:
            await asyncio.sleep(2)
            self.alive.remove(name)
            self.c.kill(name)
            await asyncio.sleep(1)
            await asyncio.get_event_loop().run_in_executor(None, self.c.start_gateway, name)
            self.alive.append(name)

    async def javascript(self):
        port = await Front(self.where).open()
        a, b = stocks = Stock("romeo", self.late_ms), Stock("juliet", self.late_ms)
        await a.start(self.c, port, "juliet")
        await b.start(self.c, port, "romeo")
        self.test.check("@xmpp/client: both are in", await until(lambda: a.sessions and b.sessions))
        for s in stocks:
            s.tell("talk")
        await self.deaths()
        for s in stocks:
            s.tell("quiet")
        done = await until(lambda: all(len(set(s.acked)) == s.sent for s in stocks) and len(set(a.got)) == b.sent and len(set(b.got)) == a.sent, 40)
        for s, other in ((a, b), (b, a)):
            print(f"   {s.name}: sent {s.sent}, acknowledged {len(s.acked)}, arrived {len(set(other.got))}, resumed {s.resumed}, sessions {s.sessions}, "
                  f"lost {len(set(s.acked) - set(other.got))}, repeated {len(other.repeated())}, of which it sent again what was counted {len(s.needless)}", flush=True)
            if other.repeated() != s.needless or other.firsts() != sorted(other.firsts()):
                print(f"   arrived {other.got}, of which with a delay {other.marked}", flush=True)
        self.test.check("@xmpp/client: all is acknowledged and has arrived", done)
        self.test.check("@xmpp/client: in order", all(s.firsts() == sorted(s.firsts()) for s in stocks))
        self.test.check("@xmpp/client: once, but for what it sent again though it was counted", a.repeated() == b.needless and b.repeated() == a.needless)
        if self.late_ms:
            self.test.check("@xmpp/client: when it hears late of its writes it does that", a.needless or b.needless)
        self.test.check("@xmpp/client: resumed, and no session was lost", all(s.resumed and s.sessions == 1 for s in stocks))
        self.test.check("@xmpp/client: no error", not any(s.strange for s in stocks))
        for s in stocks:
            await s.stop()

    async def python(self):
        clients = [Resuming(f"{user}@{DOMAIN}/phone", self.c.passwords[user], self.c.trust, self.where, keep=False) for user in USERS[2:]]
        pairs = Pairs(clients, 0.2)
        self.test.check("slixmpp: both are in", await pairs.enter())
        talk = asyncio.ensure_future(pairs.talk())
        await self.deaths()
        await pairs.settle(4)
        await talk
        print(f"   {pairs.report()}", flush=True)
        self.test.check("slixmpp: resumed, and no session was lost", all(x.resumed and x.sessions == 1 for x in clients))
        self.test.check("slixmpp: nothing that was acknowledged is lost", not pairs.lost())
        self.test.check("slixmpp: once, and in order", pairs.repeated() == 0 and not pairs.disordered())
        pairs.leave()
        await asyncio.sleep(0.5)

    async def play(self):
        self.c.start_registry("r1")
        for name in GATEWAYS:
            self.c.start_gateway(name)
        await wait_ready(self.c.start_im("im", "im", "--domain", DOMAIN))
        self.test.check("both gateways know the domain", await self.c.same_views(("r1",), GATEWAYS))
        await self.javascript()
        await self.python()


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--late", action="store_true", help="@xmpp/client hears late that it has written, as under load")
    o = flags.parse_args()
    test = Test("interop.resumption")
    with open(f"{test.folder}/prepare.log", "ab") as log:
        npm.install(log)
    run(test, Story(test, 30 if o.late else 0).play(), 200)
    test.finish()


main()
