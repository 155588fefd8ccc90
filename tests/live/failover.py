#!/usr/bin/env python3
"""Promises 1, 2 and 5: clients with stream management exchange numbered messages in pairs, over two gateways and two instances of one domain's service, while gateways and
instances are killed and links are cut under them. They resume at whichever gateway is alive. Every message that its sender saw acknowledged arrives, in order; exactly once while
gateways and links die. When an instance dies, what its recipient had not acknowledged may come again, with the same stanza id (XEP-0359)."""
import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import namespace  # noqa: E402
from stack import Test, run, word_in  # noqa: E402
from cluster import IM, Cluster, wait_ready  # noqa: E402
from herd import Herd  # noqa: E402
from postgres import Postgres  # noqa: E402

DOMAIN = "one.example"
GATEWAYS, INSTANCES = ("g1", "g2"), ("im1", "im2")
BETWEEN, AWAY = 3, 1.5                     # seconds between two troubles; until what died is started again, or a link heals
CUT = {"reset": "reject with tcp reset", "silence": "drop"}
PHASES = {"deaths of gateways and links": ("gateway", "reset", "silence"),
          "a rolling restart": ("rolling restart",),
          "deaths of everything": ("instance", "gateway", "silence", "instance", "reset"),
          "deaths of instances": ("instance",)}


class Story:
    def __init__(self, test, o):
        self.test, self.o, self.random = test, o, random.Random(o.seed)
        self.users = [f"user{i}" for i in range(o.clients // 2 * 2)]
        members = {"gateway": "gateway", "admin": "admin", **{name: f"service {DOMAIN}:client,server" for name in INSTANCES}}
        self.c = Cluster(test, [DOMAIN], self.users, members)
        self.c.authorise()
        self.database = Postgres(test)
        self.c.env.update({name: value for name, value in self.database.env.items() if name.startswith("PG")})
        self.herd, self.alive = Herd(test.folder), set(GATEWAYS)
        self.troubles = dict.fromkeys(("gateway", "instance", "rolling restart", *CUT), 0)

    def tell_where(self):
        self.herd.tell(do="where", to=[self.c.c2s(name) for name in sorted(self.alive)])

    def start_instance(self, name):
        return self.c.start(name, IM, "--registry", self.c.known(), "--key", f"{self.c.folder}/{name}.key", "--domain", DOMAIN, "--policy", "hash", "--log-level", "debug",
                            "--database", f"host={self.database.folder} user=gateway dbname=postgres")

    async def start(self):
        self.database.start()
        self.c.start_registry("r1")
        for name in GATEWAYS:
            self.c.start_gateway(name)
        for name in INSTANCES:
            await wait_ready(self.start_instance(name))
            self.test.check(f"{name} is linked to both gateways", await word_in(f"{self.c.folder}/{name}.log", f"gateways={len(GATEWAYS)}"))
        nft("add", "table", "inet", "cut")
        nft("add", "chain", "inet", "cut", "out", "{ type filter hook output priority 0; }")
        await self.herd.start([(f"{user}@{DOMAIN}/phone", self.c.passwords[user]) for user in self.users], self.c.trust, self.o.processes,
                              max(0.5, len(self.users) / self.o.rate))
        self.tell_where()
        self.test.check(f"{len(self.users)} clients are in", all(await self.herd.ask(do="enter", at_once=10)))

    async def kill_gateway(self):
        name = self.random.choice(GATEWAYS)
        self.alive.discard(name)
        self.tell_where()
        self.c.kill(name)
        await asyncio.sleep(AWAY)
        await self.again(name)

    async def again(self, name):
        """Clients go there once it can serve them, as whoever sends them there asks its health."""
        said = len(self.c.log(name))
        await asyncio.get_event_loop().run_in_executor(None, self.c.start_gateway, name)
        await self.linked(name, said)
        self.alive.add(name)
        self.tell_where()

    async def linked(self, name, said):
        for _ in range(600):
            if self.c.log(name)[said:].count("service=ambrosia-im") >= len(INSTANCES):
                return True
            await asyncio.sleep(0.05)
        return False

    async def restart_gateways(self):
        """As an operator does it: one after the other, each told to end."""
        for name in GATEWAYS:
            self.alive.discard(name)
            self.tell_where()
            status = await asyncio.get_event_loop().run_in_executor(None, self.test.stop, name, 120)
            self.test.check(f"{name} drains and ends with status 0", status == 0)
            await self.again(name)

    async def kill_instance(self):
        name = self.random.choice(INSTANCES)
        self.c.kill(name)
        await asyncio.sleep(AWAY)
        await wait_ready(self.start_instance(name))

    async def cut(self, how):
        """All links of one gateway, both ways."""
        port = self.c.ports[self.random.choice(GATEWAYS)]["svc"].rsplit(":", 1)[1]
        for end in ("dport", "sport"):
            nft("add", "rule", "inet", "cut", "out", "meta l4proto tcp", "tcp", end, port, CUT[how])
        await asyncio.sleep(AWAY)
        nft("flush", "chain", "inet", "cut", "out")

    async def trouble(self, kinds, seconds):
        """Each kind in its turn."""
        end, turn = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            kind = kinds[turn % len(kinds)]
            turn += 1
            self.troubles[kind] += 1
            await asyncio.sleep(BETWEEN - AWAY)
            self.herd.tell(do="trouble", kind=kind, at=time.monotonic())
            if kind == "gateway":
                await self.kill_gateway()
            elif kind == "instance":
                await self.kill_instance()
            elif kind == "rolling restart":
                await self.restart_gateways()
            else:
                await self.cut(kind)

    async def act(self, what, seconds):
        """One kind of load and trouble."""
        kinds, before = PHASES[what], dict(self.troubles)
        self.herd.tell(do="talk")
        await self.trouble(kinds, seconds)
        told = ", ".join(f"{kind} {n - before[kind]}" for kind, n in self.troubles.items() if n > before[kind])
        answers = await self.herd.ask(do="settle", seconds=60)
        total = {name: sum((a[name] for a in answers), type(answers[0][name])()) for name in answers[0]}
        aways = sorted(total["aways"]) or [0]
        print(f"   {what} ({told}): sent {total['sent']}, acknowledged {total['acked']}, arrived {total['arrived']}, resumed {total['resumed']}, "
              f"new sessions {total['sessions']} in which {total['again']} were sent again, lost {len(total['lost'])}, repeated {total['repeated']}, "
              f"away {statistics.median(aways):.1f} s, the slowest {aways[-1]:.1f} s", flush=True)
        for name in ("stuck", "lost", "disordered", "wrong", "strange"):
            for line in total[name][:5]:
                print(f"   {name}: {line}", flush=True)
        self.tell_ways(total["ways"])
        self.judge(what, kinds, total, all(a["settled"] for a in answers))
        return total

    def tell_ways(self, ways):
        """Of messages that were overtaken or came twice: where each was stored and sent, and when its sender and recipient came and went."""
        for users, sids in ways[:3]:
            told = [(line, name) for name in INSTANCES for line in self.c.log(name).splitlines()
                    if any(sid and f"sid={sid}" in line for sid in sids) or any(f"jid={user}/" in line for user in users)]
            for line, name in sorted(told):
                print(f"   {name}: {line}", flush=True)

    def judge(self, what, kinds, total, settled):
        self.test.check(f"{what}: when they stop, everybody is in and all is acknowledged", settled)
        self.test.check(f"{what}: nothing that was acknowledged is lost", not total["lost"])
        self.test.check(f"{what}: everything comes in order", not total["disordered"])
        self.test.check(f"{what}: nobody got an error or another's message", not total["strange"])
        self.test.check(f"{what}: every message has a stanza id", total["nameless"] == 0)
        if "instance" in kinds:
            self.test.check(f"{what}: only what had not been acknowledged comes twice, with the same stanza id", not total["wrong"])
        else:
            self.test.check(f"{what}: nothing comes twice", total["repeated"] == 0)
            self.test.check(f"{what}: no session was lost", total["sessions"] == 0)

    async def play(self):
        try:
            await self.acts()
        finally:
            self.herd.stop()

    async def acts(self):
        await self.start()
        if self.o.only:
            await self.act(self.o.only, self.o.seconds)
        else:
            first = await self.act("deaths of gateways and links", self.o.seconds)
            self.test.check("clients resumed", first["resumed"] > 0)
            await self.act("a rolling restart", 1)
            await self.act("deaths of everything", self.o.seconds)
        await self.herd.leave()
        for name in (*INSTANCES, *GATEWAYS, "r1"):
            self.test.check(f"{name} ends with status 0 at SIGTERM", self.test.stop(name) == 0)
        self.database.stop()


def nft(*words):
    subprocess.run(["nft", " ".join(words)], check=True)


def main():
    namespace.enter()
    flags = argparse.ArgumentParser()
    flags.add_argument("--seconds", type=int, default=30, help="of each kind of trouble")
    flags.add_argument("--clients", type=int, default=200)
    flags.add_argument("--processes", type=int, default=2, help="that the clients are shared over")
    flags.add_argument("--rate", type=int, default=50, help="messages a second, of all clients")
    flags.add_argument("--only", choices=PHASES, help="one kind of trouble")
    flags.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    o = flags.parse_args()
    test = Test("live.failover")
    print(f"   seed {o.seed}: what is chosen repeats with --seed; times don't", flush=True)
    run(test, Story(test, o).play(), 2 * o.seconds + 400)
    test.finish()


main()
