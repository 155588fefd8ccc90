#!/usr/bin/env python3
"""Stream limits (XEP-0478): what the gateway announces to clients and servers is what it holds them to; what other servers announce it keeps to. No server of Debian 12
announces any, so those are small servers of the test's own."""
import asyncio
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import arrives, login  # noqa: E402
from by_hand import ByHand  # noqa: E402
import fake  # noqa: E402
import peers  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS  # noqa: E402

JULIET = f"juliet@{OURS}"
OUR_SERVERS_MAX, OUR_CLIENTS_MAX = 20000, 30000
NS = "urn:xmpp:stream-limits:0"


def limits(max_bytes, idle_seconds=""):
    return f"<limits xmlns='{NS}'><max-bytes>{max_bytes}</max-bytes>{idle_seconds and f'<idle-seconds>{idle_seconds}</idle-seconds>'}</limits>"


def announced(features, what):
    return [int(n.text) for n in features.iter(fake.name(NS, what))]


async def to_clients(test, password, port):
    client = await ByHand(OURS, (OUR_ADDRESS, port), f"{test.folder}/our-ca.pem").open()
    client.say(f"<stream:stream to='{OURS}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
    found = await client.hear(f"<limits xmlns='{NS}'><max-bytes>([0-9]*)</max-bytes><idle-seconds>[0-9]*</idle-seconds></limits></stream:features>")
    test.check("a client is told what is taken before authentication", found is not None and int(found.group(1)) < OUR_CLIENTS_MAX)
    client.close()
    client = await ByHand(OURS, (OUR_ADDRESS, port), f"{test.folder}/our-ca.pem").open()
    client.say(f"<stream:stream to='{OURS}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
    await client.hear("</stream:features>")
    client.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + plain("juliet", password) + "</auth>")
    await client.hear("<success[^>]*>")
    client.say(f"<stream:stream to='{OURS}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
    test.check("and behind it", await client.hear(f"<limits xmlns='{NS}'><max-bytes>{OUR_CLIENTS_MAX}</max-bytes>") is not None)
    client.close()


def plain(user, password):
    import base64
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def stanza_of(size):
    head, tail = f"<message from='romeo@caller.example' to='{JULIET}'><body>", "</body></message>"
    return head + "x" * (size - len(head) - len(tail)) + tail


async def to_servers(test, juliet, pki):
    caller = await fake.Dialler("caller.example", OURS).open((OUR_ADDRESS, 5269), pki.context(False, "caller.example"))
    test.check("a server is told before dialback what holds behind it", announced(caller.features, "max-bytes") == [OUR_SERVERS_MAX])
    test.check("its certificate is taken", await caller.external() is None)
    test.check("and is told again behind it", announced(caller.features, "max-bytes") == [OUR_SERVERS_MAX])
    test.check("with the time of silence", announced(caller.features, "idle-seconds") == [1800])
    quotes = '"' * 11000   # six bytes for each when it is said back
    for to in (OURS, "nowhere.example"):
        caller.wire.send(f"<db:verify from='caller.example' to='{to}' id='{quotes}'>k</db:verify>")
        answer = b""   # read by hand: the parser of Python waits for more behind a tag that grows in pieces
        while not answer.endswith((b"type='invalid'/>", b"</db:verify>")):
            answer += await caller.wire.reader.read(65536) or b"</db:verify>"
        test.check(f"an id as long as a tag may be is said back in {to}'s name", f" from='{to}' ".encode() in answer and answer.count(b"&quot;") == len(quotes))
    largest = stanza_of(OUR_SERVERS_MAX)
    caller.wire.send(largest)
    test.check("as much as was announced is taken", await arrives(juliet, ("romeo@caller.example", re.search(">(x+)<", largest).group(1))))
    caller.wire.send(stanza_of(OUR_SERVERS_MAX + 1))
    error = await caller.wire.expect("element")
    test.check("a byte more is not", error.tag == fake.name(fake.NS_STREAMS, "error") and fake.condition(error) == "policy-violation")
    caller.close()


async def stanza_is(server, body):
    e = await asyncio.wait_for(server.stanzas.get(), 30)
    found = e.find("{jabber:server}body")
    return found is not None and found.text == body


async def theirs(test, juliet, server, how):
    romeo = f"romeo@{server.domain}"
    juliet.send_message(romeo, "small")
    test.check(f"{how}: a small stanza arrives", await stanza_is(server, "small"))
    juliet.send_message(romeo, "x" * 5000)
    test.check(f"{how}: one that is too large comes back with policy-violation", await arrives(juliet, (romeo, "policy-violation")))
    juliet.send_message(romeo, "next")
    test.check(f"{how}: the next one arrives, on the same stream", await stanza_is(server, "next") and server.nr_connections == 1)


async def kept_alive(test, server):
    """Well before its ten seconds are over there is a sign of life."""
    before = server.wire.nr_signs
    for _ in range(90):
        if server.wire.nr_signs > before:
            break
        await asyncio.sleep(0.1)
    test.check("a server that wants to hear something every ten seconds does, unasked", server.wire.nr_signs > before)


async def first_stanza(test, juliet, server):
    """The limit is known before the first stanza is sent, also when that was there before the stream."""
    romeo = f"romeo@{server.domain}"
    for body in ("x" * 5000, "small"):
        juliet.send_message(romeo, body)
    test.check("the stanza for which the stream was opened is too large", await arrives(juliet, (romeo, "policy-violation")))
    test.check("the one behind it arrives", await stanza_is(server, "small"))


async def story(test, env, passwords, pki):
    domains = ("external.example", "dialback.example", "first.example")
    servers = {d: fake.Server(d, pki.context(True, d), fake.EXTERNAL) for d in domains}
    servers["dialback.example"].features = fake.DIALBACK + limits(4000)
    servers["external.example"].features_then = limits(4000, 10)
    servers["first.example"].features_then = limits(4000)
    for server in servers.values():
        await server.start(THEIR_ADDRESS)
    peers.start_dns(test, [peers.host("theirs.example", THEIR_ADDRESS), *[peers.srv(d, "theirs.example", servers[d].port) for d in domains]])
    peers.start_ours(test, env, "our-ca", f"{test.folder}/our-certs", "--c2s-direct", f"{OUR_ADDRESS}:5223", "--s2s-stanza-max", str(OUR_SERVERS_MAX),
                     "--stanza-max", str(OUR_CLIENTS_MAX))
    juliet, _ = await login(JULIET, passwords["juliet"], f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    await to_clients(test, passwords["juliet"], 5223)
    await to_servers(test, juliet, pki)
    await theirs(test, juliet, servers["external.example"], "EXTERNAL")
    await theirs(test, juliet, servers["dialback.example"], "dialback")
    await first_stanza(test, juliet, servers["first.example"])
    await kept_alive(test, servers["external.example"])
    juliet.disconnect()


fake.play("live.limits", story)
