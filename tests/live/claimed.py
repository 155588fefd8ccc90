#!/usr/bin/env python3
"""Whoever may link may say to be any instance: what is a service's by (key, instance) is not to be had by saying its instance id with another key, not even by
one that may have clients of the same domain. echo.py, with an id that both are given. And no key has all of a gateway's links."""
import asyncio
import os
import resource
import secrets
import sys
import time

import zmq

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), *names) for names in (("lib",), ("..", "..", "services", "echo"))]
import echo as wire  # noqa: E402
from by_hand import ByHand  # noqa: E402
from cluster import Cluster, until, wait_ready  # noqa: E402
from stack import HERE, Test, run  # noqa: E402

DOMAIN, OTHER, LINKS = "claimed.example", "other.example", 1024
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


class Linked:
    """Many links with one key, each with an instance id of its own, as far as WELCOME."""

    def __init__(self, cluster, key):
        words = [word.encode() for word in open(f"{cluster.folder}/{key}.key").read().split() if len(word) == 40]
        self.public, self.secret = words[:2]
        self.gateway = open(f"{cluster.folder}/gateway.key").read().split()
        self.gateway = next(word for word in self.gateway if len(word) == 40).encode()
        self.endpoint, self.context = cluster.ports["g1"]["svc"], zmq.Context()
        self.context.max_sockets = LINKS + 100
        self.sockets = []

    def add(self):
        socket = self.context.socket(zmq.DEALER)
        socket.linger, socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = 0, self.public, self.secret, self.gateway
        socket.connect(self.endpoint)
        socket.send(wire.BATCH.pack(1, 0, 0, 1, 1) + wire.frame(
            wire.HELLO, version_min=1, version_max=1, instance=secrets.token_bytes(16), incarnation=1, name="one of many", stanza_bytes_max=wire.STANZA_MAX,
            stream_window_bytes=wire.WINDOW, unacked_stanzas_max=wire.UNACKED_MAX, unacked_bytes_max=2**30, streams_max=2**20))
        self.sockets.append(socket)
        return socket

    def answer(self, socket, seconds=30):
        """What WELCOME refuses with: "" for not at all."""
        if not socket.poll(seconds * 1000):
            return None
        kind, _, _, _, body = next(wire.frames(socket.recv()))
        return wire.parse(body).get("refused", b"").decode() if kind == wire.WELCOME else None

    def close(self):
        self.context.destroy(0)


def many(test, cluster):
    links, refused = Linked(cluster, "greedy"), None
    for _ in range(LINKS // 64):
        answers = [links.answer(socket) for socket in [links.add() for _ in range(64)]]
        if any(answers) or None in answers:
            break
    test.check(f"one key gets {LINKS} links", len(links.sockets) == LINKS and answers == [""] * 64)
    refused = links.answer(links.add())
    test.check(f"... and no more, and is told: {refused}", refused == "this key has as many links here as one key may have")
    other = Linked(cluster, "mallory")
    test.check("another key gets its link", other.answer(other.add()) == "")
    other.close()
    links.close()
    end, again = time.monotonic() + 30, None
    while again != "" and time.monotonic() < end:
        links = Linked(cluster, "greedy")
        again = links.answer(links.add())
        links.close()
    test.check("what it lets go of it may have again", again == "")


def main():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    test = Test("live.claimed")
    members = {"gateway": "gateway", "admin": "admin", "owner": f"service {DOMAIN}:client", "mallory": f"service {DOMAIN}:client {OTHER}:client",
               "greedy": f"service {OTHER}:server"}
    cluster = Cluster(test, [DOMAIN], ["juliet"], members)
    cluster.authorise()
    cluster.start_registry("r1")
    cluster.start_gateway("g1")
    run(test, story(test, cluster))
    many(test, cluster)
    for name in ("owner", "g1", "r1"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
