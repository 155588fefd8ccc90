#!/usr/bin/env python3
"""A cluster whose network breaks: two registries, two gateways and two services, each in a network namespace of its own, joined by a bridge. Any two parts can be cut off from
each other; logins go on wherever they can, and when all is healed everybody has the same view."""
import asyncio
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import Test, arrives, login, run  # noqa: E402
import namespace  # noqa: E402
from cluster import Cluster, until, wait_ready  # noqa: E402

A, B = "a.example", "b.example"
NUMBERS = {"r1": 1, "r2": 2, "g1": 11, "g2": 12, "sa": 21, "sb": 22}
REGISTRIES, GATEWAYS, SERVICES = ("r1", "r2"), ("g1", "g2"), ("sa", "sb")
MEMBERS = {"gateway": "gateway", "admin": "admin", "a": f"service {A}:client,server", "b": f"service {B}:client,server"}


def sh(*words):
    subprocess.run(words, check=True)


def address(name):
    return f"10.77.0.{NUMBERS[name]}"


def place(name):
    return ["ip", "netns", "exec", name], address(name)


def build_network():
    """Everything is in the test's own namespaces, and goes with it."""
    os.makedirs("/run/netns", exist_ok=True)
    sh("mount", "-t", "tmpfs", "netns", "/run/netns")
    sh("ip", "link", "add", "br0", "type", "bridge")
    sh("ip", "addr", "add", "10.77.0.254/24", "dev", "br0")
    sh("ip", "link", "set", "br0", "up")
    for name in NUMBERS:
        inside = ["ip", "-n", name]
        sh("ip", "netns", "add", name)
        sh("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        sh("ip", "link", "set", f"to-{name}", "master", "br0", "up")
        sh(*inside, "link", "set", "lo", "up")
        sh(*inside, "addr", "add", f"{address(name)}/24", "dev", "eth0")
        sh(*inside, "link", "set", "eth0", "up")
        sh("ip", "netns", "exec", name, "nft", "add table ip cut; add chain ip cut in { type filter hook input priority 0; }")


def cut(some, others):
    """Nothing passes between the two sides, and nobody is told: packets are dropped."""
    for one in some:
        for other in others:
            for at, source in ((one, other), (other, one)):
                sh("ip", "netns", "exec", at, "nft", f"add rule ip cut in ip saddr {address(source)} drop")


def heal():
    for name in NUMBERS:
        sh("ip", "netns", "exec", name, "nft", "flush chain ip cut in")


class Marks:
    """What the logs say from here on."""

    def __init__(self, c):
        self.c, self.at = c, {name: len(c.log(name)) for name in NUMBERS}

    def says(self, name, *words):
        return any(all(word in line for word in words) for line in self.c.log(name)[self.at[name]:].splitlines())


async def enter(c, jid, gateway):
    client, how = await login(jid, c.passwords[jid.split("@")[0]], c.trust, c.c2s(gateway), "PLAIN")
    return client, how == "in"


async def logins(c, what, *pairs):
    """Each (user, domain) at a gateway; they leave again."""
    for user, domain, gateway in pairs:
        client, ok = await enter(c, f"{user}@{domain}", gateway)
        c.test.check(f"{what}: {user}@{domain} logs in at {gateway}", ok)
        client.disconnect()


async def heard(c, what):
    """A message of one domain at one gateway to the other domain at the other."""
    alice, _ = await enter(c, f"alice@{A}", "g1")
    bob, _ = await enter(c, f"bob@{B}", "g2")
    alice.send_message(f"bob@{B}", what)
    c.test.check(f"{what}: a message from {A} at g1 reaches {B} at g2", await arrives(bob, (f"alice@{A}", what)))
    alice.disconnect()
    bob.disconnect()


async def healed(c, what):
    heal()
    c.test.check(f"{what}, healed: all views are the same", await c.same_views(REGISTRIES, GATEWAYS))


def links_lost(c, marks):
    return [name for name in SERVICES if marks.says(name, "link to gateway", "ended")]


async def a_registry_alone(c):
    """r1 reaches nobody: it expires everybody, and nobody minds."""
    marks, what = Marks(c), "r1 cut off"
    cut(("r1",), (*GATEWAYS, *SERVICES))
    c.test.check(f"{what}: it expires its gateways and registrations", await until(
        lambda: marks.says("r1", "expired kind=gateway", address("g1")) and marks.says("r1", "expired kind=gateway", address("g2")) and
        marks.says("r1", "expired", A) and marks.says("r1", "expired", B)))
    c.test.check(f"{what}: the others noticed", await until(lambda: all(marks.says(name, address("r1"), "is silent") for name in (*GATEWAYS, *SERVICES))))
    await logins(c, what, ("alice", A, "g1"), ("alice", A, "g2"), ("bob", B, "g1"), ("bob", B, "g2"))
    await heard(c, what)
    c.test.check(f"{what}: no link was lost", not links_lost(c, marks))
    await healed(c, what)


async def members_alone(c):
    """g1 and sa reach no registry, but each other and the rest: registries expire them, links keep them."""
    marks, what = Marks(c), "g1 and sa cut off from the registries"
    cut(("g1", "sa"), REGISTRIES)
    c.test.check(f"{what}: both registries expire them", await until(
        lambda: all(marks.says(r, "expired kind=gateway", address("g1")) and marks.says(r, "expired", A) for r in REGISTRIES)))
    await logins(c, what, ("alice", A, "g1"), ("alice", A, "g2"), ("bob", B, "g1"))
    await heard(c, what)
    c.test.check(f"{what}: no link was lost", not links_lost(c, marks))
    await healed(c, what)


async def two_halves(c):
    """Each half has a registry, a gateway and a service, and works for itself."""
    marks, what = Marks(c), "two halves"
    cut(("r1", "g1", "sa"), ("r2", "g2", "sb"))
    c.test.check(f"{what}: the links between them end", await until(
        lambda: all(marks.says(name, "link to gateway", "ended") for name in SERVICES)))
    c.test.check(f"{what}: each registry expires the other half", await until(
        lambda: marks.says("r1", "expired", B) and marks.says("r1", "expired kind=gateway", address("g2")) and
        marks.says("r2", "expired", A) and marks.says("r2", "expired kind=gateway", address("g1"))))
    await logins(c, what, ("alice", A, "g1"), ("bob", B, "g2"))
    await healed(c, what)
    c.test.check(f"{what}, healed: every service is linked to both gateways again", await until(lambda: all(marks.says(name, "gateways=2") for name in SERVICES)))
    await logins(c, f"{what}, healed", ("alice", A, "g2"), ("bob", B, "g1"))
    await heard(c, f"{what}, healed")


async def one_link(c):
    """A service and a gateway don't reach each other, and both reach all others."""
    marks, what = Marks(c), "sa and g2 cut off from each other"
    cut(("sa",), ("g2",))
    c.test.check(f"{what}: the link ends", await until(lambda: marks.says("sa", "link to gateway", address("g2"), "ended") and marks.says("g2", "down why=")))
    await logins(c, what, ("alice", A, "g1"), ("bob", B, "g1"), ("bob", B, "g2"))
    heal()
    c.test.check(f"{what}, healed: the link is back", await until(lambda: marks.says("sa", "gateways=2")))
    await logins(c, f"{what}, healed", ("alice", A, "g2"))


async def one_gateway(c):
    """A gateway reaches nobody but its clients. Its leases end, and it lives: whoever is logged in there notices nothing when it is back within T2."""
    alice, _ = await enter(c, f"alice@{A}", "g1")
    bob, _ = await enter(c, f"bob@{B}", "g2")
    marks, what = Marks(c), "g1 cut off from all members"
    cut(("g1",), (*REGISTRIES, *SERVICES))
    c.test.check(f"{what}: registries lose it, and can't tell that it died", await until(
        lambda: all(marks.says(r, "member-gone", "died=0") and marks.says(r, "expired kind=gateway", address("g1")) for r in REGISTRIES)))
    c.test.check(f"{what}: its links end", await until(lambda: all(marks.says(name, "link to gateway", address("g1"), "ended") for name in SERVICES)))
    heal()
    c.test.check(f"{what}, healed: every service is linked to both gateways again", await until(lambda: all(marks.says(name, "gateways=2") for name in SERVICES)))
    bob.send_message(f"alice@{A}", what)
    c.test.check(f"{what}, healed: a message reaches her over the stream that she had", await arrives(alice, (f"bob@{B}", what)))
    c.test.check(f"{what}, healed: her session is the same", not marks.says("sa", "session-end"))
    for client in (alice, bob):
        client.disconnect()
    c.test.check(f"{what}, healed: all views are the same", await c.same_views(REGISTRIES, GATEWAYS))


async def story(c):
    c.authorise()
    for name in REGISTRIES:
        c.start_registry(name)
    for name in GATEWAYS:
        c.start_gateway(name)
    for process in (c.start_im("sa", "a", "--domain", A), c.start_im("sb", "b", "--domain", B)):
        await wait_ready(process)
    c.test.check("at first all views are the same", await c.same_views(REGISTRIES, GATEWAYS))
    await heard(c, "at first")
    await a_registry_alone(c)
    await members_alone(c)
    await two_halves(c)
    await one_link(c)
    await one_gateway(c)
    await asyncio.sleep(0)


def main():
    namespace.enter()
    test = Test("live.partition")
    build_network()
    c = Cluster(test, (A, B), ("alice", "bob"), MEMBERS, place)
    c.account("bob", B, c.passwords["bob"])
    run(test, story(c), 300)
    for name in (*SERVICES, *GATEWAYS, *REGISTRIES):
        if name in test.programs:
            test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
