#!/usr/bin/env python3
"""Finding the other side: direct TLS by its own SRV records, every target tried, IPv6 that leads nowhere beside IPv4 that works, no SRV at all; and direct TLS inbound."""
import asyncio
import os
import socket
import ssl
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import arrives, login  # noqa: E402
import fake  # noqa: E402
import peers  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS  # noqa: E402

JULIET = f"juliet@{OURS}"
FALLBACK_ADDRESS = "127.0.0.4"
DIRECT = (OUR_ADDRESS, 5270)


def direct_context(pki, domain):
    context = pki.context(True, domain)
    context.set_alpn_protocols(["xmpp-server"])
    return context


def mute_listener(port):
    """Connections to ::1 on this port are neither made nor refused: nobody accepts, and the backlog is full. What is returned keeps it so."""
    listener = socket.socket(socket.AF_INET6)
    listener.bind(("::1", port))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket(socket.AF_INET6)
        filler.setblocking(False)
        filler.connect_ex(("::1", port))
        fillers.append(filler)
    return listener, fillers


async def servers_of(pki):
    made = {
        "direct.example": fake.Server("direct.example", direct_context(pki, "direct.example"), direct=True),
        "ranks.example": fake.Server("ranks.example", direct_context(pki, "ranks.example"), direct=True),
        "refuser": fake.Server("ranks.example", None),
        "six.example": fake.Server("six.example", pki.context(True, "six.example")),
    }
    for server in made.values():
        await server.start(THEIR_ADDRESS)
    made["fallback.example"] = await fake.Server("fallback.example", pki.context(True, "fallback.example")).start(FALLBACK_ADDRESS, 5269)
    return made


def records(servers, closed_port):
    port = {name: server.port for name, server in servers.items()}
    return [peers.host("fake.example", THEIR_ADDRESS), peers.host("both.example", f"{THEIR_ADDRESS},::1"), peers.host("fallback.example", FALLBACK_ADDRESS),
            peers.srv("direct.example", "fake.example", port["direct.example"], "xmpps-server"),
            peers.srv("ranks.example", "fake.example", f"{closed_port},1"), peers.srv("ranks.example", "fake.example", f"{port['refuser']},2"),
            peers.srv("ranks.example", "fake.example", f"{port['ranks.example']},3", "xmpps-server"),
            peers.srv("six.example", "both.example", port["six.example"])]


async def outbound(test, juliet, servers):
    for domain in ("direct.example", "ranks.example", "six.example", "fallback.example"):
        juliet.send_message(f"romeo@{domain}", "Where are you?")
    for domain, how in (("direct.example", "by direct TLS"), ("ranks.example", "at its third target"), ("six.example", "over IPv4"),
                        ("fallback.example", "without SRV records")):
        stanza = await asyncio.wait_for(servers[domain].stanzas.get(), 30)
        test.check(f"{domain} is reached {how}", stanza.get("to") == f"romeo@{domain}")
    test.check("direct TLS came with the protocol's name", servers["direct.example"].alpn == "xmpp-server")
    test.check("the target before it was tried, and refused for want of TLS", "error" in servers["refuser"].heard)


async def handshake_fails(context):
    try:
        await asyncio.open_connection(*DIRECT, ssl=context, server_hostname=OURS)
    except (ssl.SSLError, ConnectionError):
        return True
    return False


async def inbound(test, juliet, pki):
    for protocols, how in ((["xmpp-server"], "with its protocol's name"), ([], "with none")):
        context = pki.context(False, "direct.example")
        if protocols:
            context.set_alpn_protocols(protocols)
        caller = await fake.Dialler("direct.example", OURS).open_direct(DIRECT, context)
        test.check(f"inbound direct TLS {how}: EXTERNAL is offered and taken", (caller.mechanisms(), await caller.external()) == (["EXTERNAL"], None))
        caller.wire.send(f"<message from='romeo@direct.example' to='{JULIET}'><body>{how}</body></message>")
        test.check(f"inbound direct TLS {how}: a message arrives", await arrives(juliet, ("romeo@direct.example", how)))
        caller.close()
    context = pki.context(False, "direct.example")
    context.set_alpn_protocols(["xmpp-client"])
    test.check("inbound direct TLS with another protocol's name is refused", await handshake_fails(context))


async def story(test, env, passwords, pki):
    servers = await servers_of(pki)
    closed = socket.socket()
    closed.bind((THEIR_ADDRESS, 0))
    mute = mute_listener(servers["six.example"].port)
    peers.start_dns(test, records(servers, closed.getsockname()[1]))
    peers.start_ours(test, env, "our-ca", f"{test.folder}/our-certs", "--s2s-direct", f"{OUR_ADDRESS}:5270")
    juliet, _ = await login(JULIET, passwords["juliet"], f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    await inbound(test, juliet, pki)
    await outbound(test, juliet, servers)
    juliet.disconnect()
    del mute


fake.play("live.finding", story)
