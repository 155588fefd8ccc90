#!/usr/bin/env python3
"""Promises 1, 2 and 5: clients with stream management exchange numbered messages in pairs while gateways are killed under them. They resume at whichever gateway is
alive, and every message that its sender saw acknowledged arrives, in order, once."""
import argparse
import asyncio
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import Test, run, word_in  # noqa: E402
from cluster import Cluster, wait_ready  # noqa: E402
from resuming import Pairs, Resuming  # noqa: E402

DOMAINS = ("one.example", "two.example")   # one for each service instance
GATEWAYS = ("g1", "g2")
EVERY = 0.5                                # seconds between two messages of one client
BETWEEN, AWAY = 3, 1.5                     # seconds between two deaths; until what died is started again


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
        self.deaths = {"gateway": 0}

    def where(self):
        return self.c.c2s(self.random.choice(sorted(self.alive)))

    async def start(self):
        self.c.start_registry("r1")
        for name in GATEWAYS:
            self.c.start_gateway(name)
        for domain in DOMAINS:
            await wait_ready(self.c.start_im(domain, domain, "--domain", domain))
            self.test.check(f"the instance of {domain} is linked to both gateways", await word_in(f"{self.c.folder}/{domain}.log", f"gateways={len(GATEWAYS)}"))

    async def kill_gateway(self):
        name = self.random.choice(GATEWAYS)
        self.alive.discard(name)
        self.c.kill(name)
        self.deaths["gateway"] += 1
        await asyncio.sleep(AWAY)
        await asyncio.get_event_loop().run_in_executor(None, self.c.start_gateway, name)
        self.alive.add(name)

    async def trouble(self):
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            await asyncio.sleep(BETWEEN - AWAY)
            await self.kill_gateway()

    async def play(self):
        await self.start()
        clients = [Resuming(f"{user}@{DOMAINS[i // 2 % 2]}/phone", self.c.passwords[user], self.c.trust, self.where) for i, user in enumerate(self.users)]
        pairs = Pairs(clients, EVERY)
        self.test.check(f"{len(clients)} clients are in", await pairs.enter())
        talk = asyncio.ensure_future(pairs.talk())
        await self.trouble()
        settled = await pairs.settle()
        await talk
        print(f"   {self.deaths['gateway']} deaths of gateways: {pairs.report()}", flush=True)
        for c in clients:
            if len(c.acked) != c.sent or not c.live or c.strange:
                print(f"   {c.boundjid}: sent {c.sent}, acknowledged {len(c.acked)}, live {c.live}, strange {c.strange[:1]}", flush=True)
        self.test.check("when the deaths stop, everybody is in and all is acknowledged", settled)
        self.test.check("nothing that was acknowledged is lost", not pairs.lost())
        self.test.check("nothing comes twice", pairs.repeated() == 0)
        self.test.check("everything comes in order", not pairs.disordered())
        self.test.check("no session was lost: whoever came back resumed", all(c.sessions == 1 for c in clients) and any(c.resumed for c in clients))
        self.test.check("nobody got an error or another's message", not any(c.strange for c in clients))
        pairs.leave()
        await asyncio.sleep(0.5)


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--seconds", type=int, default=30, help="of trouble")
    flags.add_argument("--clients", type=int, default=20)
    flags.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    o = flags.parse_args()
    test = Test("live.failover")
    print(f"   seed {o.seed}: what is chosen repeats with --seed; times don't", flush=True)
    story = Story(test, o.seconds, o.clients, o.seed)
    run(test, story.play(), o.seconds + 300)
    test.finish()


main()
