#!/usr/bin/env python3
"""Promises 1, 2 and 5: clients with stream management exchange numbered messages in pairs while gateways and service instances are killed and links are cut under them.
They resume at whichever gateway is alive, and every message that its sender saw acknowledged arrives, in order; once, unless a service instance died."""
import argparse
import asyncio
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import namespace  # noqa: E402
from stack import Test, run, word_in  # noqa: E402
from cluster import Cluster, wait_ready  # noqa: E402
from resuming import Pairs, Resuming  # noqa: E402

DOMAINS = ("one.example", "two.example")   # one for each service instance
GATEWAYS = ("g1", "g2")
MESSAGES_MAX = 100                         # a second, of all clients: what slixmpp and this test can do beside the programs on two processors
BETWEEN, AWAY = 3, 1.5                     # seconds between two troubles; until what died is started again, or a link heals
CUT = {"reset": "reject with tcp reset", "silence": "drop"}


class Story:
    def __init__(self, test, seconds, nr_clients, seed):
        self.test, self.seconds, self.random = test, seconds, random.Random(seed)
        self.users = [f"user{i}" for i in range(nr_clients)]
        members = {"gateway": "gateway", "admin": "admin", **{d: f"service {d}:client,server" for d in DOMAINS}}
        self.c = Cluster(test, DOMAINS, self.users, members)
        for user in self.users:
            self.c.account(user, DOMAINS[1], self.c.passwords[user])
        self.c.authorise()
        self.alive = set(GATEWAYS)
        self.troubles = dict.fromkeys(("gateway", "instance", "rolling restart", *CUT), 0)

    def where(self):
        return self.c.c2s(self.random.choice(sorted(self.alive)))

    def start_instance(self, domain):
        return self.c.start_im(domain, domain, "--domain", domain)

    async def start(self):
        self.c.start_registry("r1")
        for name in GATEWAYS:
            self.c.start_gateway(name)
        for domain in DOMAINS:
            await wait_ready(self.start_instance(domain))
            self.test.check(f"the instance of {domain} is linked to both gateways", await word_in(f"{self.c.folder}/{domain}.log", f"gateways={len(GATEWAYS)}"))

    async def kill_gateway(self):
        name = self.random.choice(GATEWAYS)
        self.alive.discard(name)
        self.c.kill(name)
        await asyncio.sleep(AWAY)
        await asyncio.get_event_loop().run_in_executor(None, self.c.start_gateway, name)
        self.alive.add(name)

    async def restart_gateways(self):
        """As an operator does it: one after the other, each told to end."""
        for name in GATEWAYS:
            self.alive.discard(name)
            status = await asyncio.get_event_loop().run_in_executor(None, self.test.stop, name)
            self.test.check(f"{name} drains and ends with status 0", status == 0)
            await asyncio.get_event_loop().run_in_executor(None, self.c.start_gateway, name)
            self.alive.add(name)

    async def kill_instance(self):
        domain = self.random.choice(DOMAINS)
        self.c.kill(domain)
        await asyncio.sleep(AWAY)
        await wait_ready(self.start_instance(domain))

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
            if kind == "gateway":
                await self.kill_gateway()
            elif kind == "instance":
                await self.kill_instance()
            elif kind == "rolling restart":
                await self.restart_gateways()
            else:
                await self.cut(kind)

    async def act(self, what, clients, kinds, seconds):
        """One kind of load and trouble, by clients of its own."""
        pairs = Pairs(clients, max(0.5, len(clients) / MESSAGES_MAX))
        self.test.check(f"{what}: {len(clients)} clients are in", await pairs.enter())
        before = dict(self.troubles)
        talk = asyncio.ensure_future(pairs.talk())
        await self.trouble(kinds, seconds)
        settled = await pairs.settle()
        await talk
        told = ", ".join(f"{kind} {n - before[kind]}" for kind, n in self.troubles.items() if n > before[kind])
        print(f"   {what} ({told}): {pairs.report()}", flush=True)
        for c in clients:
            if len(c.acked) != c.sent or not c.live or c.strange:
                print(f"   {c.jid}: sent {c.sent}, acknowledged {len(c.acked)}, live {c.live}, strange {c.strange[:1]}", flush=True)
        self.test.check(f"{what}: when they stop, everybody is in and all is acknowledged", settled)
        self.test.check(f"{what}: nothing that was acknowledged is lost", not pairs.lost())
        self.test.check(f"{what}: everything comes in order", not pairs.disordered())
        self.test.check(f"{what}: nobody got an error or another's message", not any(c.strange for c in clients))
        if "instance" not in kinds:
            self.test.check(f"{what}: nothing comes twice", pairs.repeated() == 0)
            self.test.check(f"{what}: no session was lost", all(c.sessions == 1 for c in clients))
        pairs.leave()
        await asyncio.sleep(0.5)

    def clients(self):
        return [Resuming(f"{user}@{DOMAINS[i // 2 % 2]}/phone", self.c.passwords[user], self.c.trust, self.where) for i, user in enumerate(self.users)]

    async def play(self):
        await self.start()
        nft("add", "table", "inet", "cut")
        nft("add", "chain", "inet", "cut", "out", "{ type filter hook output priority 0; }")
        clients = self.clients()
        await self.act("deaths of gateways and links", clients, ("gateway", "reset", "silence"), self.seconds)
        self.test.check("clients resumed", any(c.resumed for c in clients))
        await self.act("a rolling restart", self.clients(), ("rolling restart",), 1)
        await self.act("deaths of everything", self.clients(), ("instance", "gateway", "silence", "instance", "reset"), self.seconds)


def nft(*words):
    subprocess.run(["nft", " ".join(words)], check=True)


def main():
    namespace.enter()
    flags = argparse.ArgumentParser()
    flags.add_argument("--seconds", type=int, default=30, help="of each trouble")
    flags.add_argument("--clients", type=int, default=50, help="200 want a machine of their own")
    flags.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    o = flags.parse_args()
    test = Test("live.failover")
    print(f"   seed {o.seed}: what is chosen repeats with --seed; times don't", flush=True)
    story = Story(test, o.seconds, o.clients, o.seed)
    run(test, story.play(), 2 * o.seconds + 300)
    test.finish()


main()
