#!/usr/bin/env python3
"""Stream management (XEP-0198) with other servers: a stock Prosody with mod_smacks, on a stream for each way and on one for both (XEP-0288), and what becomes of stanzas whose TCP connection took them while the server
behind it did not: repeated, or handed back, never lost. Relays on the way, one for each direction, swallow and cut. An ejabberd, which has none between servers, does
without."""
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, arrives, authority, certificate, login, run, word_in  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS, THEIRS, logged  # noqa: E402

JULIET, ROMEO = f"juliet@{OURS}", f"romeo@{THEIRS}"
PASSWORD = "montague-password"
TO_THEM, TO_US = "127.0.0.3", "127.0.0.4"
HTTP = "127.0.0.1:9280"
STATE_OF_QUEUE = "#queue = {} (acked: {})"   # what mod_smacks notes of an <a/>


class Relay:
    """Hands on what comes at an address to port 5269 of another and back. `swallow`: what whoever connected ("caller") or was called ("called") says is taken and goes
    nowhere, on connections that were made before `spare`. cut() ends all connections."""

    def __init__(self, address, to):
        self.address, self.to, self.swallow, self.swallowed, self.writers = address, to, None, 0, set()
        self.spare = False

    async def start(self):
        self.listener = await asyncio.start_server(self.serve, self.address, 5269)
        return self

    async def serve(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(self.to, 5269)
        except OSError:
            writer.transport.abort()
            return
        self.writers |= {writer, far_writer}
        heard = self.spare
        await asyncio.gather(self.hand_on(reader, far_writer, "caller", heard), self.hand_on(far_reader, writer, "called", heard))
        self.writers -= {writer, far_writer}

    async def hand_on(self, reader, writer, whose, heard):
        try:
            while data := await reader.read(65536):
                if self.swallow == whose and not heard:
                    self.swallowed += len(data)
                    continue
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    def cut(self):
        for writer in self.writers:
            writer.transport.abort()


def streams():
    """{role: [sm, ...]} of the established streams with the other domain."""
    command = [f"{BUILD}/services/ctl/ambrosiactl", "--state-dir", streams.state, "streams", "--domain", THEIRS, "--json"]
    rows = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    found = {}
    for row in rows:
        if row["state"] == "established":
            found.setdefault(row["role"], []).append(row["sm"])
    return found


def metric(name):
    for line in urllib.request.urlopen(f"http://{HTTP}/metrics", timeout=20).read().decode().splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    raise KeyError(name)


UNACKNOWLEDGED = "ambrosia_s2s_unacknowledged_stanzas"


async def metric_is(name, value, seconds=30):
    for _ in range(seconds * 20):
        if metric(name) == value:
            return True
        await asyncio.sleep(0.05)
    print(f"   {name} is {metric(name)}, not {value}", flush=True)
    return False


async def settled(peer_log):
    """True once neither side waits for the other's word: what is swallowed from here on is what the story sends."""
    theirs = re.compile(STATE_OF_QUEUE.replace("(", "[(]").replace(")", "[)]").format("([0-9]+)", "[0-9]+"))
    for _ in range(600):
        if theirs.findall(open(peer_log, errors="replace").read())[-1:] == ["0"] and metric(UNACKNOWLEDGED) == 0:
            return True
        await asyncio.sleep(0.05)
    return False


async def managed(test, juliet, romeo):
    juliet.send_message(ROMEO, "one")
    test.check("juliet's message reaches romeo", await arrives(romeo, (JULIET, "one")))
    romeo.send_message(JULIET, "two")
    test.check("romeo's message reaches juliet", await arrives(juliet, (ROMEO, "two")))
    test.check("prosody has acknowledged all of ours", await metric_is(UNACKNOWLEDGED, 0))
    test.check("ambrosiactl streams: both directions have stream management", streams() == {"s2s-in": [True], "s2s-out": [True]})
    test.check("metrics: likewise", all([await metric_is(f'ambrosia_streams_managed{{role="{role}"}}', 1) for role in ("s2s-in", "s2s-out")]))


async def outbound_cut(test, juliet, romeo, relay, ours="caller"):
    """The remote's TCP has them, the remote has not."""
    relay.swallow, before = ours, relay.swallowed
    for n in range(5):
        juliet.send_message(ROMEO, f"swallowed {n}")
    test.check("five stanzas are unacknowledged", await metric_is(UNACKNOWLEDGED, 5))
    await asyncio.sleep(1)   # the TCP rule would have acknowledged them by now
    test.check("and stay so, though TCP took them", relay.swallowed > before and metric(UNACKNOWLEDGED) == 5)
    relay.swallow = None
    relay.cut()
    test.check("after the connection broke they are repeated, in order, once",
               all([await arrives(romeo, (JULIET, f"swallowed {n}")) for n in range(5)]) and romeo.inbox.empty())
    test.check("and acknowledged", await metric_is(UNACKNOWLEDGED, 0))
    test.check("the service's log says so", await word_in(f"{test.folder}/im.log", f"stream {OURS} to {THEIRS} ended with 5 stanzas on the way"))
    test.check("the gateway's too", logged(f"{test.folder}/gateway.log", f"unacknowledged from={OURS} to={THEIRS} stanzas=5"))


async def silence(test, passwords):
    """A server whose TCP takes everything and that answers no <r/>: after --stall-timeout the stream counts as broken, and what it did not acknowledge goes over the next one."""
    outward, inward = await Relay(TO_THEM, THEIR_ADDRESS).start(), await Relay(TO_US, OUR_ADDRESS).start()
    juliet, _ = await login(JULIET, passwords["juliet"], f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    romeo, _ = await login(ROMEO, PASSWORD, f"{test.folder}/their-ca.pem", (THEIR_ADDRESS, 5222), "PLAIN")
    juliet.send_message(ROMEO, "one")
    test.check("silence: before it, juliet's message reaches romeo", await arrives(romeo, (JULIET, "one")))
    test.check("silence: and is acknowledged", await metric_is(UNACKNOWLEDGED, 0))
    outward.swallow, outward.spare = "caller", True
    for n in range(3):
        juliet.send_message(ROMEO, f"unheard {n}")
    test.check("silence: three stanzas are unacknowledged", await metric_is(UNACKNOWLEDGED, 3))
    test.check("silence: the stream ends for want of an answer", await word_in(f"{test.folder}/gateway.log", "close reason=ack-timeout"))
    test.check("silence: they are repeated, in order, once", all([await arrives(romeo, (JULIET, f"unheard {n}")) for n in range(3)]) and romeo.inbox.empty())
    test.check("silence: nothing came back", juliet.inbox.empty() and await metric_is(UNACKNOWLEDGED, 0))
    for client in (juliet, romeo):
        client.disconnect()
    outward.listener.close()
    inward.listener.close()


async def inbound_counts(test, juliet, romeo, peer_log):
    """h is the service's: a service that stands still acknowledges nothing, however much the gateway has read."""
    im, start = test.programs["im"], os.path.getsize(peer_log)
    im.send_signal(signal.SIGSTOP)
    for n in range(3):
        romeo.send_message(JULIET, f"waiting {n}")
    test.check("nothing is acknowledged to prosody while the service stands still", await word_in(peer_log, STATE_OF_QUEUE.format(3, 0), start=start))
    test.check("not one of them", STATE_OF_QUEUE.format(2, 1) not in open(peer_log, errors="replace").read()[start:])
    im.send_signal(signal.SIGCONT)
    test.check("they arrive when it goes on", all([await arrives(juliet, (ROMEO, f"waiting {n}")) for n in range(3)]))
    test.check("and then are acknowledged, unasked", await word_in(peer_log, "#queue = 0 (acked: ", start=start + 1))


async def inbound_cut(test, juliet, romeo, relay):
    """What we did not acknowledge prosody hands back to its sender."""
    relay.swallow, before = "caller", relay.swallowed
    romeo.send_message(JULIET, "lost on the way")
    while relay.swallowed == before:
        await asyncio.sleep(0.05)
    relay.swallow = None
    relay.cut()
    test.check("romeo hears of the one that we did not acknowledge", await arrives(romeo, (JULIET, "recipient-unavailable")))
    romeo.send_message(JULIET, "again")
    test.check("the next one comes on a new stream", await arrives(juliet, (ROMEO, "again")))
    test.check("with stream management", await metric_is('ambrosia_streams_managed{role="s2s-in"}', 1))


async def killed(test, juliet, prosody, ca):
    """kill -9 of the remote: each stanza arrives at its successor, or comes back."""
    test.programs["prosody"].send_signal(signal.SIGSTOP)
    for n in range(4):
        juliet.send_message(ROMEO, f"killed {n}")
    test.check("four stanzas are unacknowledged", await metric_is(UNACKNOWLEDGED, 4))
    process = test.programs.pop("prosody")
    process.kill()
    process.wait(30)
    prosody()
    romeo, _ = await login(ROMEO, PASSWORD, ca, (THEIR_ADDRESS, 5222), "PLAIN")
    arrived, back = [], 0
    while len(arrived) + back < 4:
        done, waiting = await asyncio.wait([asyncio.ensure_future(c.inbox.get()) for c in (romeo, juliet)], timeout=60,
                                           return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if not done:
            break
        for sender, what in (task.result() for task in done):
            if sender == JULIET:
                arrived.append(what)
            else:
                back += what == "remote-server-timeout"
    test.check(f"none is lost: {len(arrived)} arrived, {back} came back", len(arrived) + back == 4 and len(set(arrived)) == len(arrived))
    test.check("nothing is left unacknowledged", await metric_is(UNACKNOWLEDGED, 0))
    romeo.disconnect()


async def with_prosody(test, passwords, prosody, peer_log):
    outward, inward = await Relay(TO_THEM, THEIR_ADDRESS).start(), await Relay(TO_US, OUR_ADDRESS).start()
    juliet, _ = await login(JULIET, passwords["juliet"], f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    romeo, _ = await login(ROMEO, PASSWORD, f"{test.folder}/their-ca.pem", (THEIR_ADDRESS, 5222), "PLAIN")
    await managed(test, juliet, romeo)
    await outbound_cut(test, juliet, romeo, outward)
    await inbound_counts(test, juliet, romeo, peer_log)
    await inbound_cut(test, juliet, romeo, inward)
    romeo.disconnect()
    await killed(test, juliet, prosody, f"{test.folder}/their-ca.pem")
    juliet.disconnect()
    outward.listener.close()
    inward.listener.close()


async def both_ways(test, passwords, peer_log):
    """One stream for both ways, made by us, then by them."""
    outward, inward = await Relay(TO_THEM, THEIR_ADDRESS).start(), await Relay(TO_US, OUR_ADDRESS).start()
    juliet, _ = await login(JULIET, passwords["juliet"], f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    romeo, _ = await login(ROMEO, PASSWORD, f"{test.folder}/their-ca.pem", (THEIR_ADDRESS, 5222), "PLAIN")
    juliet.send_message(ROMEO, "one")
    test.check("both ways: juliet's message reaches romeo", await arrives(romeo, (JULIET, "one")))
    romeo.send_message(JULIET, "two")
    test.check("both ways: romeo's message reaches juliet", await arrives(juliet, (ROMEO, "two")))
    test.check("both ways: on the one stream that we made, with stream management", streams() == {"s2s-out": [True]})
    test.check("both ways: all is acknowledged", await settled(peer_log))
    await outbound_cut(test, juliet, romeo, outward)
    await inbound_counts(test, juliet, romeo, peer_log)
    await settled(peer_log)
    outward.cut()
    await metric_is('ambrosia_streams_managed{role="s2s-out"}', 0)
    romeo.send_message(JULIET, "three")
    test.check("both ways: when they call, romeo's message reaches juliet", await arrives(juliet, (ROMEO, "three")))
    await metric_is('ambrosia_streams_managed{role="s2s-in"}', 1)
    juliet.send_message(ROMEO, "four")
    test.check("both ways: and juliet's romeo", await arrives(romeo, (JULIET, "four")))
    test.check("both ways: on the one stream that they made, with stream management", streams() == {"s2s-in": [True]})
    test.check("both ways: all of that is acknowledged", await settled(peer_log))
    await outbound_cut(test, juliet, romeo, inward, "called")
    await inbound_counts(test, juliet, romeo, peer_log)
    for client in (juliet, romeo):
        client.disconnect()
    outward.listener.close()
    inward.listener.close()


async def with_ejabberd(test, passwords):
    await Relay(TO_THEM, THEIR_ADDRESS).start()
    await Relay(TO_US, OUR_ADDRESS).start()
    juliet, _ = await login(JULIET, passwords["juliet"], f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    romeo, _ = await login(ROMEO, PASSWORD, f"{test.folder}/their-ca.pem", (THEIR_ADDRESS, 5222), "PLAIN")
    juliet.send_message(ROMEO, "one")
    test.check("ejabberd: juliet's message reaches romeo", await arrives(romeo, (JULIET, "one")))
    romeo.send_message(JULIET, "two")
    test.check("ejabberd: romeo's message reaches juliet", await arrives(juliet, (ROMEO, "two")))
    test.check("ejabberd: what its TCP has counts as acknowledged", await metric_is(UNACKNOWLEDGED, 0))
    test.check("ejabberd 23.01 neither offers nor asks for stream management between servers", streams() == {"s2s-in": [False], "s2s-out": [False]})
    for client in (juliet, romeo):
        client.disconnect()


def start_ours(test, env, *flags):
    peers.start_ours(test, env, "both", f"{test.folder}/our-certs", "--http", HTTP, *flags)


def stop_ours(test, peer):
    for name in ("im", "gateway"):
        test.check(f"{peer}: {name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.stop(peer)


def main():
    namespace.enter()
    test = Test("live.s2s_sm")
    d = test.folder
    streams.state = f"{d}/state"
    env, passwords = accounts(test, OURS, ("juliet",))
    authority(d, "our-ca")
    authority(d, "their-ca")
    with open(f"{d}/both.pem", "w") as f:
        f.write(open(f"{d}/our-ca.pem").read() + open(f"{d}/their-ca.pem").read())
    certificate(d, "our-ca", OURS, f"{d}/our-certs")
    certificate(d, "their-ca", THEIRS, f"{d}/their-certs")
    peers.start_dns(test, [peers.host("gw.capulet.example", TO_US), peers.host("xmpp.montague.example", TO_THEM),
                           peers.srv(OURS, "gw.capulet.example", 5269), peers.srv(THEIRS, "xmpp.montague.example", 5269)])
    place = f"{d}/prosody"
    os.mkdir(place)
    peers.PROSODY = peers.PROSODY.replace('"roster", ', '"roster", "smacks", "offline", ').replace('"s2s_auth_dane_in", "offline"', '"s2s_auth_dane_in"')
    peers.start_prosody(test, place, PASSWORD, "both", True)

    def prosody():
        test.start("prosody", ["prosody", "--root", "--config", f"{place}/prosody.cfg.lua"])
        namespace.listens(THEIR_ADDRESS, 5222)

    start_ours(test, env)
    run(test, with_prosody(test, passwords, prosody, f"{place}/peer.log"), 240)
    stop_ours(test, "prosody")
    os.rename(streams.state, f"{d}/state-then")   # a service that ends before it hears of the last acknowledgement tells its stanzas again
    prosody()
    start_ours(test, env, "--stall-timeout", "2")
    run(test, silence(test, passwords))
    stop_ours(test, "prosody")
    os.rename(streams.state, f"{d}/state-silence")
    peers.PROSODY = peers.PROSODY.replace('"smacks", ', '"smacks", "s2s_bidi", ')
    place = f"{d}/prosody-bidi"
    os.mkdir(place)
    peers.start_prosody(test, place, PASSWORD, "both", True)
    start_ours(test, env, "--workers", "1")   # a pair leaves by the worker that it falls to: here there is only that which took the call
    run(test, both_ways(test, passwords, f"{place}/peer.log"), 240)
    stop_ours(test, "prosody")
    os.rename(streams.state, f"{d}/state-both")
    place = f"{d}/ejabberd"
    os.mkdir(place)
    peers.start_ejabberd(test, place, PASSWORD, "both", True)
    start_ours(test, env)
    run(test, with_ejabberd(test, passwords))
    stop_ours(test, "ejabberd")
    test.finish()


main()
