#!/usr/bin/env python3
"""The main job: a message from a client of ours to a user of a stock Prosody and a stock ejabberd, and an answer back; by SASL EXTERNAL, by dialback, and a domain that
isn't there."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import Test, accounts, arrives, authority, certificate, login, run  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS, THEIRS, logged  # noqa: E402

STARTERS = {"prosody": peers.start_prosody, "ejabberd": peers.start_ejabberd}
# What the peer's own log says of our stream, once it took our certificate, or our dialback key.
TAKEN = {"prosody": {"EXTERNAL": f"Accepting SASL EXTERNAL identity from {OURS}",
                     "dialback": f"connection {OURS}->{THEIRS} is now authenticated"},
         "ejabberd": {"EXTERNAL": f"Accepted inbound s2s EXTERNAL authentication {OURS} -> {THEIRS}",
                      "dialback": f"Accepted inbound s2s dialback authentication {OURS} -> {THEIRS}"}}


async def story(test, how, passwords, romeo_password, our_ca):
    juliet, _ = await login(f"juliet@{OURS}", passwords["juliet"], our_ca, (OUR_ADDRESS, 5222), "PLAIN")
    romeo, _ = await login(f"romeo@{THEIRS}", romeo_password, f"{test.folder}/their-ca.pem", (THEIR_ADDRESS, 5222), "PLAIN")
    juliet.send_message(f"romeo@{THEIRS}", "Good night, good night!")
    test.check(f"{how}: juliet's message reaches romeo", await arrives(romeo, (f"juliet@{OURS}", "Good night, good night!")))
    romeo.send_message(f"juliet@{OURS}", "Sleep dwell upon thine eyes.")
    test.check(f"{how}: romeo's answer reaches juliet", await arrives(juliet, (f"romeo@{THEIRS}", "Sleep dwell upon thine eyes.")))
    juliet.send_message("nurse@nobody.example", "Anybody there?")
    test.check(f"{how}: a domain that is not there comes back as remote-server-not-found",
               await arrives(juliet, ("nurse@nobody.example", "remote-server-not-found")))
    for client in (juliet, romeo):
        client.disconnect()


def play(test, peer, mechanism, env, passwords, our_trust, their_trust):
    how = f"{peer}, {mechanism}"
    place = f"{test.folder}/{peer}-{mechanism}"
    os.mkdir(place)
    STARTERS[peer](test, place, "montague-password", their_trust, mechanism == "EXTERNAL")
    peers.start_ours(test, env, our_trust, f"{test.folder}/our-certs")
    run(test, story(test, how, passwords, "montague-password", f"{test.folder}/our-ca.pem"))
    for name in ("im", "gateway"):
        test.check(f"{how}: {name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.stop(peer)
    test.check(f"{how}: the peer says that it took ours", logged(f"{place}/peer.log", TAKEN[peer][mechanism]))
    ours = f"{place}/gateway.log"
    os.rename(f"{test.folder}/gateway.log", ours)
    test.check(f"{how}: the gateway took the peer's certificate or not, as meant",
               logged(ours, f"auth domain={THEIRS} mechanism=EXTERNAL") == (mechanism == "EXTERNAL"))
    test.check(f"{how}: the gateway verified the peer's key or not, as meant",
               logged(ours, f"dialback domain={THEIRS} to={OURS} valid=1") == (mechanism == "dialback"))


def main():
    namespace.enter()
    test = Test("live.federation")
    d = test.folder
    env, passwords = accounts(test, OURS, ("juliet",))
    authority(d, "our-ca")
    authority(d, "their-ca")
    with open(f"{d}/both.pem", "w") as f:
        f.write(open(f"{d}/our-ca.pem").read() + open(f"{d}/their-ca.pem").read())
    certificate(d, "our-ca", OURS, f"{d}/our-certs")
    certificate(d, "their-ca", THEIRS, f"{d}/their-certs")
    peers.start_dns(test, [peers.host("gw.capulet.example", OUR_ADDRESS), peers.host("xmpp.montague.example", THEIR_ADDRESS),
                           peers.srv(OURS, "gw.capulet.example", 5269), peers.srv(THEIRS, "xmpp.montague.example", 5269)])
    for peer in ("prosody", "ejabberd"):
        play(test, peer, "EXTERNAL", env, passwords, "both", "both")
        play(test, peer, "dialback", env, passwords, "our-ca", "their-ca")
    test.finish()


main()
