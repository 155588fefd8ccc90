#!/usr/bin/env python3
"""Order: two instances of a service send numbered stanzas to one remote domain while gateways drain, die, lose their links and come. At the remote server each instance's stanzas are in order
and none is missing that was acknowledged; what came again is counted, and marked where it was sent."""
import asyncio
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import Test, run, word_in  # noqa: E402
import fake  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
from cluster import Cluster, wait_ready  # noqa: E402
from peers import OURS, THEIR_ADDRESS, THEIRS  # noqa: E402
from sending import Sender, marked  # noqa: E402

MEMBERS = {"gateway": "gateway", "admin": "admin", "sender": f"service {OURS}:client,server"}
GATEWAYS = ("g1", "g2", "g3")
COUNT, SECOND = 10000, 2000     # of the two instances
# When so many of the first one's stanzas have come, this happens to the gateway over which they do.
EVENTS = ((1000, "drain"), (2500, "kill"), (4000, "drain"), (5500, "drain, the remote server reads slowly"), (7500, "cut"), (9000, "drain"))
SLOW_SECONDS = 1.0


class Remote(fake.Server):
    """Knows what came over which connection, in order: (number of the connection, label, number of the stanza)."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.rows, self.connections, self.top, self.waiters = [], {}, {}, []
        self.last, self.ended, self.overlaps = {}, set(), []     # the connection of each label; those that are over; pairs of which two were open
        self.slow = False     # whoever is read next waits

    async def step(self, wire):
        if self.slow:
            self.slow = False
            await asyncio.sleep(SLOW_SECONDS)
        goes_on = await super().step(wire)
        connection = self.connections.setdefault(wire, len(self.connections) + 1)
        while not self.stanzas.empty():
            label, number = self.stanzas.get_nowait().get("id").split("-")
            self.rows.append((connection, label, int(number)))
            before = self.last.get(label, connection)
            if before != connection and before not in self.ended:
                self.overlaps.append((label, before, connection))
            self.last[label] = connection
            self.top[label] = max(int(number), self.top.get(label, 0))
        if not goes_on:
            self.ended.add(connection)
        for waiter in [w for w in self.waiters if self.top.get(w[0], 0) >= w[1]]:
            self.waiters.remove(waiter)
            waiter[2].set_result(None)
        return goes_on

    async def reaches(self, label, number):
        if self.top.get(label, 0) >= number:
            return
        done = asyncio.get_event_loop().create_future()
        self.waiters.append((label, number, done))
        await done


def account(test, remote, sender):
    """What came of an instance's stanzas, against what it was told. How many came again."""
    came = [(connection, number) for connection, label, number in remote.rows if label == sender.label]
    seen, again, disorder, top = set(), 0, [], 0
    for connection, number in came:
        again += number in seen
        if number not in seen and number < top:
            disorder.append((connection, top, number))
        seen.add(number)
        top = max(top, number)
    lost = set(range(1, sender.count + 1)) - seen
    test.check(f"{sender.label}: every stanza is answered for once, in order, and none came back: {sender.told} {sender.back[:3]}",
               sender.told == f"delivered={sender.count} undeliverable=0 twice=0 disorder=0")
    test.check(f"{sender.label}: of {sender.count} that were acknowledged {len(lost)} are lost {sorted(lost)[:5]}", not lost)
    test.check(f"{sender.label}: they are in order at the remote server {disorder[:3]}", not disorder)
    print(f"   {sender.label}: {again} came again, over {len({c for c, _ in came})} connections", flush=True)
    return again


def holder(c):
    """The gateway over which the pair's stanzas leave: who established the last connection."""
    def last(name):
        return max(re.findall(rf"^(\S+) .* s2s-out \d+ established from={re.escape(OURS)}", c.log(name), re.M), default="")
    return max(GATEWAYS, key=last)


def all_marked(c):
    return sum(marked(c.log(name)) for name in GATEWAYS)


def cut(port):
    """Nothing reaches this port, nor leaves it, and nobody is told."""
    rules = "".join(f"add rule inet cut in tcp {end} {port} drop; " for end in ("dport", "sport"))
    subprocess.run(["nft", f"add table inet cut; add chain inet cut in {{ type filter hook input priority 0; }}; {rules}"], check=True)


def heal():
    subprocess.run(["nft", "delete table inet cut"], check=True)


async def play(c, remote, what):
    name, how = holder(c), what.split(",")[0]
    remote.slow = "slowly" in what
    began, before = time.monotonic(), all_marked(c)
    if how == "kill":
        c.kill(name)
    elif how == "cut":
        cut(c.ports[name]["svc"].rpartition(":")[2])
    else:
        process = c.test.programs.pop(name)
        process.terminate()
        status = await asyncio.get_event_loop().run_in_executor(None, process.wait, 60)
        c.test.check(f"{name} drains and ends with status 0", status == 0)
    if how != "cut":
        c.start_gateway(name)
    for label, most in (("first", COUNT), ("second", SECOND)):    # more than can be on the way: what is repeated has been told
        await remote.reaches(label, min(remote.top[label] + (60 if label == "second" and how != "cut" else 300), most))
    print(f"   {what}: {name}, stanzas go on after {time.monotonic() - began:.1f} s, {all_marked(c) - before} are marked as repeated", flush=True)
    if how == "cut":
        c.test.check(f"{name} goes on without its services", c.test.programs[name].poll() is None)
        heal()
    if how == "drain":
        c.test.check("a drain repeats nothing", all_marked(c) == before)


async def story(c, pki):
    remote = await Remote(THEIRS, pki.context(True, THEIRS), features=fake.EXTERNAL).start(THEIR_ADDRESS)
    peers.start_dns(c.test, [peers.host("fake.example", THEIR_ADDRESS), peers.srv(THEIRS, "fake.example", remote.port)])
    c.authorise()
    c.start_registry("r1")
    for name in GATEWAYS:
        c.start_gateway(name)
    senders = [Sender(c.test, c.known(), f"{c.folder}/sender.key", (OURS, THEIRS), *how, c.env) for how in (("first", COUNT, 100), ("second", SECOND, 10))]
    for sender in senders:
        await wait_ready(sender.process)
        await word_in(f"{c.folder}/{sender.label}.log", f"linked gateways={len(GATEWAYS)}")
    began = time.monotonic()
    done = [sender.go() for sender in senders]
    for number, what in EVENTS:
        await remote.reaches("first", number)
        await play(c, remote, what)
    await asyncio.gather(*done)
    await remote.reaches("first", COUNT)
    await remote.reaches("second", SECOND)
    print(f"   {COUNT + SECOND} stanzas and {len(EVENTS)} events in {time.monotonic() - began:.1f} s", flush=True)
    c.test.check(f"no stanza came over a connection while the one before was open {remote.overlaps}", not remote.overlaps)
    again = sum(account(c.test, remote, sender) for sender in senders)
    c.test.check(f"what came again was sent marked: {again} of {all_marked(c)}", again <= all_marked(c))


def main():
    namespace.enter()
    test = Test("live.order")
    c = Cluster(test, [OURS], [], MEMBERS)
    pki = fake.Pki(test.folder)
    c.env = dict(c.env, SSL_CERT_FILE=f"{test.folder}/our-ca.pem", SSL_CERT_DIR=f"{test.folder}/none")
    run(test, story(c, pki), 120)
    test.finish()


main()
