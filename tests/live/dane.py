#!/usr/bin/env python3
"""DANE both ways against a small server of the test's own, in signed zones: certificates that no authority signed and TLSA vouches for, mismatches, bogus answers, and
zones that nobody signed; and what may be sent over a stream that the other server made (XEP-0288); and that nobody evades his TLSA records by having us ask too much."""
import asyncio
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, arrives, login  # noqa: E402
import fake  # noqa: E402
import peers  # noqa: E402
import signed_dns  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS  # noqa: E402

GATEWAY = (OUR_ADDRESS, 5269)
JULIET = f"juliet@{OURS}"
# zone: (authority, what its TLSA record is of, how the zone is signed)
ZONES = {
    "key.example": ("stranger-ca", "own", "signed"),          # DANE-EE, of an authority that nobody knows
    "anchor.example": ("stranger-ca", "authority", "signed"),  # DANE-TA
    "wrong.example": ("our-ca", "other", "signed"),           # trusted by authority, but TLSA says another key
    "bogus.example": ("our-ca", "own", "bogus"),
    "insecure.example": ("our-ca", "other", "unsigned"),      # TLSA that nobody signed is none
    "none.example": ("our-ca", None, "signed"),               # proven to have none
    # These call, and would have what we send on their own stream.
    "back.example": ("stranger-ca", "own", "signed"),
    "bare.example": ("stranger-ca", "own", "signed"),         # calls without a certificate
    "false.example": ("stranger-ca", "own", "signed"),        # calls with one of a known authority, not its own
    "further.example": ("stranger-ca", "own", "signed"),      # comes on the next one's stream, without a certificate
    "free.example": ("our-ca", None, "signed"),
    "loose.example": ("our-ca", "other", "unsigned"),
}
BIDI = "<bidi xmlns='urn:xmpp:bidi'/>"


def certificate_of(pki, zone, ca):
    return f"{pki.folder}/{zone}-{ca}-0/{zone}.crt"


def records(pki, zone, ca, of, port):
    """The zone's records, for a server on that port."""
    lines = [f"host A {THEIR_ADDRESS}", f"_xmpp-server._tcp SRV 1 1 {port} host"]
    if of == "own":
        lines.append(signed_dns.tlsa(certificate_of(pki, zone, ca), port, "host"))
    elif of == "authority":
        lines.append(signed_dns.tlsa(f"{pki.folder}/{ca}.pem", port, "host", usage=2, selector=0))
    elif of == "other":
        lines.append(signed_dns.tlsa(f"{pki.folder}/our-ca.pem", port, "host"))
    return lines


def chain(pki, zone, ca):
    """DANE-TA wants the authority's certificate in the chain (RFC 7671 section 5.2.2)."""
    with open(certificate_of(pki, zone, ca), "a") as f:
        f.write(open(f"{pki.folder}/{ca}.pem").read())


def contexts(pki, zone):
    ca = ZONES[zone][0]
    server, client = pki.context(True, zone, ca), pki.context(False, zone, ca)
    if ZONES[zone][1] == "authority":
        chain(pki, zone, ca)
    path = certificate_of(pki, zone, ca)
    for context in (server, client):
        context.load_cert_chain(path, path[:-4] + ".key")
    return server, client


async def outbound(test, juliet, servers):
    for zone, how in (("key.example", "by its key in a TLSA record, its authority being unknown"), ("anchor.example", "by its authority in a TLSA record"),
                      ("insecure.example", "by a known authority, its TLSA record being unsigned"), ("none.example", "by a known authority, without TLSA")):
        juliet.send_message(f"romeo@{zone}", "By what name?")
        stanza = await asyncio.wait_for(servers[zone].stanzas.get(), 30)
        test.check(f"outbound, {zone}: reached {how}", stanza.get("to") == f"romeo@{zone}")
    for zone in ("wrong.example", "bogus.example"):
        juliet.send_message(f"romeo@{zone}", "By what name?")
        test.check(f"outbound, {zone}: remote-server-timeout", await arrives(juliet, (f"romeo@{zone}", "remote-server-timeout")))
        test.check(f"outbound, {zone}: nothing was said to it", servers[zone].stanzas.empty() and set(servers[zone].heard) <= {"broken"})
    test.check("outbound, bogus.example: it was not even dialled", servers["bogus.example"].nr_connections == 0)


async def inbound(test, juliet, clients):
    for zone, taken in (("key.example", True), ("anchor.example", True), ("insecure.example", True), ("none.example", True), ("wrong.example", False),
                        ("bogus.example", False)):
        caller = await fake.Dialler(zone, OURS).open(GATEWAY, clients[zone])
        offered, failure = caller.mechanisms() == ["EXTERNAL"], await caller.external()
        test.check(f"inbound, {zone}: EXTERNAL is " + ("taken" if taken else "refused with not-authorized"),
                   (offered, failure) == (taken, None if taken else "not-authorized"))
        if taken:
            caller.wire.send(f"<message from='romeo@{zone}' to='{JULIET}'><body>{zone}</body></message>")
            test.check(f"inbound, {zone}: its message arrives", await arrives(juliet, (f"romeo@{zone}", zone)))
        caller.close()


async def key(test, caller, zone):
    answer = await caller.ask(f"<db:result from='{zone}' to='{OURS}'>a-key</db:result>")
    test.check(f"both ways, {zone}: its key is taken", (answer.get("from"), answer.get("to"), answer.get("type")) == (OURS, zone, "valid"))


async def first_of(*coroutines):
    """Which of these is done first."""
    tasks = [asyncio.ensure_future(c) for c in coroutines]
    done, _ = await asyncio.wait(tasks, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    return [task in done for task in tasks].index(True)


async def answer(test, juliet, servers, caller, zone, how, back):
    """Where a message for the zone goes: back over the stream that it made, or over one of ours."""
    juliet.send_message(f"romeo@{zone}", "By what way?")
    way = await first_of(caller.wire.expect("element"), servers[zone].stanzas.get())
    test.check(f"both ways, {zone}, {how}: a message goes " + ("back on its stream" if back else "over a stream of ours"), way == (0 if back else 1))


async def both_ways(test, juliet, servers, clients, pki):
    """RFC 7673 is about whom we send to: a stream that dialback alone vouches for is not the way to a domain that has TLSA records."""
    caller = await fake.Dialler("back.example", OURS).open(GATEWAY, clients["back.example"])
    caller.wire.send(BIDI)
    test.check("both ways, back.example: EXTERNAL is taken", await caller.external() is None)
    await answer(test, juliet, servers, caller, "back.example", "its certificate matches TLSA", True)
    caller.close()
    for zone, context, how, back in (("bare.example", None, "no certificate and TLSA", False), ("false.example", "false.example", "another certificate than TLSA says", False),
                                     ("loose.example", None, "no certificate and unsigned TLSA", True), ("free.example", None, "no certificate and no TLSA", True)):
        caller = await fake.Dialler(zone, OURS).open(GATEWAY, pki.context(False, context))
        caller.wire.send(BIDI)
        await key(test, caller, zone)
        await answer(test, juliet, servers, caller, zone, how, back)
        if zone == "free.example":
            await key(test, caller, "further.example")
            await answer(test, juliet, servers, caller, "further.example", "no certificate and TLSA, on another domain's stream", False)
        caller.close()
    # Its name servers refuse to say whether there is a record: by its authority it may speak, but nobody knows whether it may listen.
    caller = await fake.Dialler("lost.example", OURS).open(GATEWAY, pki.context(False, "lost.example"))
    caller.wire.send(BIDI)
    test.check("both ways, lost.example: EXTERNAL is taken", await caller.external() is None)
    juliet.send_message("romeo@lost.example", "By what way?")
    way = await first_of(caller.wire.expect("element"), arrives(juliet, ("romeo@lost.example", "remote-server-timeout")))
    test.check("both ways, lost.example, the DNS fails: a message comes back with remote-server-timeout, as if no stream were there", way == 1)
    caller.close()


async def unasked(test, pki):
    """While the DNS is silent authorities count, but not where it was not asked in time: an address has eight questions at a time, and each of these streams asks two."""
    context, knot = pki.context(False, "silent.example", san="*.silent.example"), test.programs["knot"].pid
    addresses = [OUR_ADDRESS] * 12 + ["127.0.0.3"]
    os.kill(knot, signal.SIGSTOP)
    try:
        callers = await asyncio.gather(*(fake.Dialler(f"s{i}.silent.example", OURS).open(GATEWAY, context, a) for i, a in enumerate(addresses)))
    finally:
        os.kill(knot, signal.SIGCONT)
    *offered, elsewhere = [caller.mechanisms() == ["EXTERNAL"] for caller in callers]
    test.check(f"inbound, a silent DNS: EXTERNAL is offered on a few streams from one address, not on the others ({offered.count(True)} of 12)",
               4 <= offered.count(True) < 12)
    test.check("inbound, a silent DNS: it is offered to another address meanwhile", elsewhere)
    test.check("the log says why", peers.logged(f"{test.folder}/gateway.log", "too much is being looked up for that peer"))
    for caller in callers:
        caller.close()


def streams(test, role):
    """ambrosiactl's view of the streams in that role that are established."""
    command = [f"{BUILD}/services/ctl/ambrosiactl", "--state-dir", f"{test.folder}/state", "streams", "--role", role, "--json"]
    rows = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return [row for row in rows if row["state"] == "established"]


async def story(test, env, passwords, pki):
    servers, clients, zones = {}, {}, {"capulet.example": []}
    for zone, (ca, of, _) in ZONES.items():
        server, clients[zone] = contexts(pki, zone)
        servers[zone] = await fake.Server(zone, server).start(THEIR_ADDRESS)
        zones[zone] = records(pki, zone, ca, of, servers[zone].port)
    anchors = signed_dns.start(test, zones, [z for z in ZONES if ZONES[z][2] == "signed"], [z for z in ZONES if ZONES[z][2] == "bogus"])
    peers.start_ours(test, env, "our-ca", f"{test.folder}/our-certs", "--trust-anchor", anchors, "--workers", "1")
    juliet, _ = await login(JULIET, passwords["juliet"], f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    await inbound(test, juliet, clients)
    await both_ways(test, juliet, servers, clients, pki)
    await outbound(test, juliet, servers)
    proofs = {row["remote"]: row["proof"] for row in streams(test, "s2s-out")}
    test.check("ambrosiactl streams says so too", (proofs.get("key.example"), proofs.get("none.example")) == ("dane", "pkix"))
    await unasked(test, pki)
    juliet.disconnect()
    log = f"{test.folder}/gateway.log"
    test.check("the log says by what they were taken", peers.logged(log, "auth domain=key.example mechanism=EXTERNAL by=dane")
               and peers.logged(log, "auth domain=none.example mechanism=EXTERNAL by=pkix"))


fake.play("live.dane", story)
