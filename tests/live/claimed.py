#!/usr/bin/env python3
"""Whoever may link may say to be any instance: what is a service's by (key, instance) is not to be had by saying its instance id with another key, not even by
one that may have clients of the same domain. echo.py, with an id that both are given."""
import asyncio
import os
import secrets
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from by_hand import ByHand  # noqa: E402
from cluster import Cluster, until, wait_ready  # noqa: E402
from stack import HERE, Test, run  # noqa: E402

DOMAIN, OTHER = "claimed.example", "other.example"
ECHO_PY = os.path.join(HERE, "..", "..", "..", "services", "echo", "echo.py")
# echo.py with an instance id of our choice.
SAME_ID = "import runpy, secrets, sys; name = bytes.fromhex(sys.argv.pop(1)); random = secrets.token_bytes; " \
    "secrets.token_bytes = lambda n: name if n == 16 else random(n); sys.argv[0] = sys.argv[1]; del sys.argv[1]; " \
    "sys.path.insert(0, sys.argv[0].rpartition('/')[0]); runpy.run_path(sys.argv[0], run_name='__main__')"


def start(cluster, name, instance, domain):
    return cluster.start(name, sys.executable, "-c", SAME_ID, instance, ECHO_PY, "--domain", domain, "--registry", cluster.known(), "--key",
                         f"{cluster.folder}/{name}.key")


async def echoed(client, number):
    client.say(f"<message to='anybody@{DOMAIN}' type='chat'><body>{number}</body></message>")
    return await client.hear(f"<body>{number}</body>") is not None


async def story(test, cluster):
    instance, password = secrets.token_hex(16), cluster.passwords["juliet"]

    async def client():
        c = ByHand(DOMAIN, (cluster.place("g1")[1], int(cluster.ports["g1"]["c2s-direct"])), cluster.trust)
        return c if await (await c.open()).login("juliet", password) else None

    await wait_ready(start(cluster, "mallory", instance, OTHER))
    await wait_ready(start(cluster, "owner", instance, DOMAIN))
    test.check("two keys are linked under one instance id", cluster.log("g1").count(" up service=") == 2)
    known = await until(lambda: cluster.gateway_view("g1") == sorted([(DOMAIN, instance), (OTHER, instance)]))
    test.check("the gateway knows both registrations", known)
    juliet = await client()
    await juliet.bind("balcony")
    previd = await juliet.enable()
    test.check("a session at the one that is registered", await echoed(juliet, 1))
    for number in (2, 3):
        juliet.close()
        juliet = await client()
        test.check("... is resumed there", await juliet.resumed(previd, 1) is not None and await echoed(juliet, number))
        juliet.say("<a xmlns='urn:xmpp:sm:3' h='1'/>")
    juliet.close()
    test.check("the other one withdraws its registration", test.stop("mallory") == 0)
    await until(lambda: cluster.gateway_view("g1") == [(DOMAIN, instance)])
    juliet = await client()
    test.check("... and nothing of the owner's ends", await juliet.resumed(previd, 1) is not None and await echoed(juliet, 4))
    juliet.close()


def main():
    test = Test("live.claimed")
    members = {"gateway": "gateway", "admin": "admin", "owner": f"service {DOMAIN}:client", "mallory": f"service {DOMAIN}:client {OTHER}:client"}
    cluster = Cluster(test, [DOMAIN], ["juliet"], members)
    cluster.authorise()
    cluster.start_registry("r1")
    cluster.start_gateway("g1")
    run(test, story(test, cluster))
    for name in ("owner", "g1", "r1"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
