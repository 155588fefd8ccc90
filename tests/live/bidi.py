#!/usr/bin/env python3
"""One connection for many: stanzas both ways on one stream with a stock Prosody (XEP-0288), whoever calls; several of our domains on one stream to a Prosody and to an
ejabberd that know nothing of that (XEP-0220 section 2.6)."""
import asyncio
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, arrives, authority, certificate, login, ready, run, word_in  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS, THEIRS, logged  # noqa: E402

OTHER = "verona.example"                                 # ours as well
JULIET, OTHER_JULIET, ROMEO = f"juliet@{OURS}", f"juliet@{OTHER}", f"romeo@{THEIRS}"


def streams(test, role):
    """What an administrator sees of the established streams of a role."""
    out = subprocess.run([f"{BUILD}/services/ctl/ambrosiactl", "--state-dir", f"{test.folder}/state", "streams", "--role", role, "--json"],
                         check=True, capture_output=True, text=True, timeout=60).stdout
    return [row for row in json.loads(out) if row["state"] == "established"]


def counted(test, role, event):
    """How many lines of the gateway's log are this event of this role."""
    with open(f"{test.folder}/gateway.log", errors="replace") as f:
        return sum(f" {role} " in line and f" {event} " in line for line in f)


def begin(test, how, start_peer, env, trust, certs, domains):
    place = f"{test.folder}/{how.replace(' ', '-').replace(',', '')}"
    os.mkdir(place)
    start_peer(place)
    state = f"{test.folder}/state"
    env = dict(env, SSL_CERT_FILE=f"{test.folder}/{trust}.pem", SSL_CERT_DIR=f"{test.folder}/none")
    # One worker: a connection that Prosody made may be used by pairs of that worker alone.
    ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", f"{OUR_ADDRESS}:5222", "--c2s-direct", "none",
                                 "--s2s", f"{OUR_ADDRESS}:5269", "--public-host", OURS, "--certs", certs, "--workers", "1"], env))
    names = [word for domain in domains for word in ("--domain", domain)]
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", *names, "--state-dir", state]))
    return place


def end(test, how, peer, place):
    for name in ("im", "gateway"):
        test.check(f"{how}: {name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.stop(peer)
    os.rename(f"{test.folder}/gateway.log", f"{place}/gateway.log")


async def enter(test, passwords, *who):
    clients = []
    for jid in who:
        ours = jid != ROMEO
        client, outcome = await login(jid, passwords[jid], f"{test.folder}/{'our' if ours else 'their'}-ca.pem",
                                      (OUR_ADDRESS if ours else THEIR_ADDRESS, 5222), "PLAIN")
        if outcome != "in":
            raise RuntimeError(f"{jid} can't log in")
        clients.append(client)
    return clients


async def say(test, how, sender, receiver, text):
    sender.send_message(receiver.boundjid.bare, text)
    test.check(f"{how}: {text}", await arrives(receiver, (sender.boundjid.bare, text)))


async def we_call(test, how, passwords, certificates):
    juliet, romeo = await enter(test, passwords, JULIET, ROMEO)
    for i in range(3):
        await say(test, how, juliet, romeo, f"message {i} reaches romeo")
        await say(test, how, romeo, juliet, f"message {i} reaches juliet")
    rows = streams(test, "s2s-out")
    test.check(f"{how}: the one stream is shown to go both ways, with a pair each way",
               [(r["bidi"], r["pairs-in"], r["pairs-out"]) for r in rows] == [(True, 1, 1)])
    # By dialback they ask whether our key is ours, on a connection for which they show us a key, and we ask about that. Prosody keeps it, and sends its stanzas there.
    test.check(f"{how}: we made one connection for stanzas, Prosody none but to ask about our key",
               (counted(test, "s2s-out", "established"), counted(test, "s2s-in", "accept")) == ((1, 0) if certificates else (2, 1)))
    before = [row["bytes-in"] for row in streams(test, "s2s-in")]
    await say(test, how, romeo, juliet, "one more message reaches juliet")
    test.check(f"{how}: by the stream that {'we made' if certificates else 'Prosody made to ask'}",
               ([row["bytes-in"] for row in streams(test, "s2s-in")] == before) == certificates)
    test.check(f"{how}: our key was asked about, or need not be", logged(f"{test.folder}/gateway.log", f"dialback-asked domain={OURS} by={THEIRS} valid=1") != certificates)
    for client in (juliet, romeo):
        client.disconnect()


async def they_call(test, how, passwords, certificates):
    juliet, romeo = await enter(test, passwords, JULIET, ROMEO)
    for i in range(3):
        await say(test, how, romeo, juliet, f"message {i} reaches juliet")
        await say(test, how, juliet, romeo, f"message {i} reaches romeo")
    rows = streams(test, "s2s-in")
    test.check(f"{how}: the one stream is shown to go both ways, with a pair each way",
               [(r["bidi"], r["pairs-in"], r["pairs-out"]) for r in rows] == [(True, 1, 1)])
    # By dialback we ask whether their key is theirs, on a connection for that.
    test.check(f"{how}: Prosody made one connection, we none for stanzas",
               (counted(test, "s2s-in", "accept"), counted(test, "s2s-out", "established")) == (1, 0 if certificates else 1))
    test.check(f"{how}: ours is the way back on it", logged(f"{test.folder}/gateway.log", f"lane from={OURS} to={THEIRS} way=back"))
    for client in (juliet, romeo):
        client.disconnect()


async def two_of_ours(test, how, passwords):
    juliet, other, romeo = await enter(test, passwords, JULIET, OTHER_JULIET, ROMEO)
    await say(test, how, juliet, romeo, "the first domain's message arrives")
    await say(test, how, other, romeo, "the second domain's message arrives")
    await say(test, how, juliet, romeo, "the first domain's second message arrives")
    test.check(f"{how}: the second domain asked on the first one's stream", logged(f"{test.folder}/gateway.log", f"lane from={OTHER} to={THEIRS} way=asked"))
    rows = [r for r in streams(test, "s2s-out") if r["pairs-out"]]
    test.check(f"{how}: one stream carries both pairs", [(r["bidi"], r["pairs-out"]) for r in rows] == [(False, 2)])
    for client in (juliet, other, romeo):
        client.disconnect()


async def alone(test, how, passwords):
    juliet, other, romeo = await enter(test, passwords, JULIET, OTHER_JULIET, ROMEO)
    await say(test, how, juliet, romeo, "the first domain's message arrives")
    await say(test, how, other, romeo, "the second domain's message arrives")
    rows = [r for r in streams(test, "s2s-out") if r["pairs-out"]]
    test.check(f"{how}: each pair has a stream of its own", [r["pairs-out"] for r in rows] == [1, 1])
    for client in (juliet, other, romeo):
        client.disconnect()


def play(test, how, peer, env, certs, story, secure, modules=(), domains=(OURS,)):
    trust = ("both", "both") if secure else ("our-ca", "their-ca")
    starters = {"prosody": lambda place: peers.start_prosody(test, place, "montague-password", trust[1], secure, modules),
                "ejabberd": lambda place: peers.start_ejabberd(test, place, "montague-password", trust[1], secure)}
    place = begin(test, how, starters[peer], env, trust[0], certs, domains)
    run(test, story)
    end(test, how, peer, place)
    return place


def main():
    namespace.enter()
    test = Test("live.bidi")
    d = test.folder
    env, ours = accounts(test, OURS, ("juliet",))
    subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{d}/sasldb2", "-u", OTHER, "juliet"], input=ours["juliet"].encode(), check=True, env=env)
    passwords = {JULIET: ours["juliet"], OTHER_JULIET: ours["juliet"], ROMEO: "montague-password"}
    authority(d, "our-ca")
    authority(d, "their-ca")
    with open(f"{d}/both.pem", "w") as f:
        f.write(open(f"{d}/our-ca.pem").read() + open(f"{d}/their-ca.pem").read())
    certs = f"{d}/our-certs"
    for domain in (OURS, OTHER):
        certificate(d, "our-ca", domain, certs)
    certificate(d, "their-ca", THEIRS, f"{d}/their-certs")
    peers.start_dns(test, [peers.host("gw.capulet.example", OUR_ADDRESS), peers.host("xmpp.montague.example", THEIR_ADDRESS),
                           peers.srv(OURS, "gw.capulet.example", 5269), peers.srv(OTHER, "gw.capulet.example", 5269),
                           peers.srv(THEIRS, "xmpp.montague.example", 5269)])
    bidi = ("s2s_bidi",)
    play(test, "we call, EXTERNAL", "prosody", env, certs, we_call(test, "we call, EXTERNAL", passwords, True), True, bidi)
    play(test, "we call, dialback", "prosody", env, certs, we_call(test, "we call, dialback", passwords, False), False, bidi)
    play(test, "they call, EXTERNAL", "prosody", env, certs, they_call(test, "they call, EXTERNAL", passwords, True), True, bidi)
    play(test, "they call, dialback", "prosody", env, certs, they_call(test, "they call, dialback", passwords, False), False, bidi)
    for peer in ("prosody", "ejabberd"):
        how = f"two of ours, {peer}"
        play(test, how, peer, env, certs, two_of_ours(test, how, passwords), False, domains=(OURS, OTHER))
    how = "no dialback, ejabberd"
    play(test, how, "ejabberd", env, certs, alone(test, how, passwords), True, domains=(OURS, OTHER))
    test.finish()


main()
