#!/usr/bin/env python3
"""Dialback across a cluster: our domains are served by three gateways, one dials a stock Prosody, and Prosody asks another one about the key, the only one that the DNS
tells of. The gateways have the cluster's secret in common and no more (XEP-0185)."""
import asyncio
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import Test, arrives, authority, certificate, login, run, word_in  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
from cluster import Cluster, wait_ready  # noqa: E402
from peers import THEIR_ADDRESS, THEIRS  # noqa: E402

DOMAINS = [f"house{i}.example" for i in range(8)]   # each goes to Prosody by the gateway that the pair falls to
ADDRESSES = {"g1": "127.0.1.1", "g2": "127.0.1.2", "g3": "127.0.1.3"}
GATEWAYS, ASKED = tuple(ADDRESSES), "g3"
MEMBERS = {"gateway": "gateway", "im": "service " + " ".join(f"{domain}:client,server" for domain in DOMAINS)}
ROMEO = f"romeo@{THEIRS}"
PASSWORD = "montague-password"


def said(c, gateway, pattern):
    return re.findall(pattern, c.log(gateway))


async def start(c):
    c.authorise()
    c.start_registry("r1")
    peers.start_dns(c.test, [peers.host("asked.example", ADDRESSES[ASKED]), peers.host("xmpp.montague.example", THEIR_ADDRESS), peers.srv(THEIRS, "xmpp.montague.example", 5269),
                             *(peers.srv(domain, "asked.example", 5269) for domain in DOMAINS)])
    for name in GATEWAYS:
        c.start_gateway(name, "--s2s", f"{ADDRESSES[name]}:5269")
    service = c.start_im("im", "im", *(word for domain in DOMAINS for word in ("--domain", domain)))
    await wait_ready(service)
    c.test.check("the service is linked to all gateways", await word_in(f"{c.folder}/im.log", f"gateways={len(GATEWAYS)}"))
    place = f"{c.folder}/prosody"
    os.mkdir(place)
    peers.start_prosody(c.test, place, PASSWORD, "their-ca", False)


async def talk(c, romeo, domain, gateway):
    juliet, how = await login(f"juliet@{domain}", c.passwords["juliet"], c.trust, c.c2s(gateway), "PLAIN")
    juliet.send_message(ROMEO, f"From {domain}")
    c.test.check(f"{domain}: a message reaches Prosody", how == "in" and await arrives(romeo, (f"juliet@{domain}", f"From {domain}")))
    romeo.send_message(f"juliet@{domain}", "And back")
    c.test.check(f"{domain}: the answer comes back", await arrives(juliet, (ROMEO, "And back")))
    juliet.disconnect()


def check_ways(c):
    # Not those that were made to ask Prosody about a key of its own. A gateway that has a stream to Prosody asks on it for the next domain.
    dialled = {domain: [name for name in GATEWAYS if said(c, name, rf"established from={domain} to={THEIRS} tls=starttls\n|lane from={domain} to={THEIRS} way=asked\n")]
               for domain in DOMAINS}
    for domain in DOMAINS:
        asked = {name: said(c, name, rf"dialback-asked domain={domain} by={THEIRS} valid=(\d)") for name in GATEWAYS}
        c.test.check(f"{domain}: {' '.join(dialled[domain])} made a key; {ASKED} alone was asked about the key, and knew it",
                     len(dialled[domain]) == 1 and all((set(v) == {"1"}) if name == ASKED else v == [] for name, v in asked.items()))
    others = [domain for domain in DOMAINS if dialled[domain] != [ASKED]]
    c.test.check(f"{len(others)} of {len(DOMAINS)} keys were verified by another gateway than the one that made them", len(others) > 0)
    # What follows "for" is whose key it was; in front is the stream's first domain.
    c.test.check("Prosody says that it took our keys",
                 all(peers.logged(f"{c.folder}/prosody/peer.log", f"->{THEIRS} is now authenticated for {domain}") for domain in DOMAINS))
    c.test.check("no certificate spared anybody the dialback", not any(said(c, name, "mechanism=EXTERNAL|by=pkix") for name in GATEWAYS))


async def story(c):
    await start(c)
    romeo, how = await login(ROMEO, PASSWORD, f"{c.folder}/their-ca.pem", (THEIR_ADDRESS, 5222), "PLAIN")
    c.test.check("romeo logs in at Prosody", how == "in")
    for i, domain in enumerate(DOMAINS):
        await talk(c, romeo, domain, GATEWAYS[i % len(GATEWAYS)])
    romeo.disconnect()
    check_ways(c)


def main():
    namespace.enter()
    test = Test("live.verification")
    authority(test.folder, "their-ca")
    certificate(test.folder, "their-ca", THEIRS, f"{test.folder}/their-certs")
    c = Cluster(test, DOMAINS, ("juliet",), MEMBERS, lambda name: ([], ADDRESSES.get(name, "127.0.0.1")))
    for domain in DOMAINS[1:]:
        c.account("juliet", domain, c.passwords["juliet"])
    run(test, story(c))
    for name in ("im", *GATEWAYS, "r1"):
        test.check(f"{name} ends with status 0 at SIGTERM", name in test.programs and test.stop(name) == 0)
    test.finish()


main()
