#!/usr/bin/env python3
"""Several pairs of domains on one stream: an administrator finds each, a service that goes ends only its own, and a domain that becomes certificates-only ends what its
new policy would not admit, and nothing else; so does a service that sends on a pair, which has one direction; what is lost with a pair ends the stream. Against a small
server of the test's own."""
import asyncio
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, HERE, Test, accounts, arrives, certificate, login, ready, run, word_in  # noqa: E402
import fake  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS  # noqa: E402

OTHER = "verona.example"                         # ours as well, of another service
JULIET, BIANCA = f"juliet@{OURS}", f"bianca@{OTHER}"
STRANGER, KNOWN = "stranger.example", "known.example"   # nobody knows the authority of the first one's certificate
ROMEO = f"romeo@{STRANGER}"


def control(test, *words):
    out = subprocess.run([f"{BUILD}/services/ctl/ambrosiactl", "--state-dir", f"{test.folder}/state", *words, "--json"], check=True, capture_output=True, text=True,
                         timeout=60).stdout
    return json.loads(out)


def found(test, domain, role):
    """The established streams that an administrator finds for a domain: (our domain, the other side's) that each was made for."""
    return [(row["domain"], row["remote"]) for row in control(test, "streams", "--domain", domain, "--role", role) if row["state"] == "established"]


def start_im(test, name, domain, *flags):
    ready(test.start(name, [f"{BUILD}/services/im/ambrosia-im", "--domain", domain, "--state-dir", f"{test.folder}/state", "--database", f"{test.folder}/{name}.sqlite",
                            *flags]))


async def enter(test, jid, password):
    client, how = await login(jid, password, f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    if how != "in":
        raise RuntimeError(f"{jid} cannot log in")
    return client


async def dial(pki, domain, ca):
    """A stream for two of our domains, by dialback keys that are asked about, or need not be."""
    caller = await fake.Dialler(domain, OURS).open((OUR_ADDRESS, 5269), pki.context(False, domain, ca))
    for to in (OURS, OTHER):
        answer = await caller.ask(f"<db:result from='{domain}' to='{to}'>a-key</db:result>")
        if answer.get("type") != "valid":
            raise RuntimeError(f"{domain} is not believed")
    return caller


async def says(test, what, caller, client, text):
    caller.wire.send(f"<message from='someone@{caller.domain}' to='{client.boundjid.bare}'><body>{text}</body></message>")
    test.check(what, await arrives(client, (f"someone@{caller.domain}", text)))


async def error_of(caller):
    e = await caller.wire.expect("element")
    return fake.condition(e) if e.tag == fake.name(fake.NS_STREAMS, "error") else e.tag


async def a_service_goes(test, pki, passwords, juliet, bianca):
    caller = await dial(pki, STRANGER, "stranger-ca")
    await says(test, "the first pair's message arrives", caller, juliet, "one")
    await says(test, "the second pair's message arrives", caller, bianca, "two")
    test.check("streams --domain finds the stream by its first pair", found(test, OURS, "s2s-in") == [(OURS, STRANGER)])
    test.check("and by its second", found(test, OTHER, "s2s-in") == [(OURS, STRANGER)])
    test.check("the service of the second ends with status 0", test.stop("other") == 0)
    test.check("the gateway ends that pair", await word_in(f"{test.folder}/gateway.log", f"pair-ended from={STRANGER} to={OTHER}"))
    await says(test, "the first pair goes on, on the same stream", caller, juliet, "three")
    start_im(test, "other", OTHER)
    bianca = await enter(test, BIANCA, passwords["juliet"])
    await says(test, "the second goes on with the next service", caller, bianca, "four")
    return caller, bianca


async def they_are_kicked(test, caller):
    test.check("kick --domain finds a stream by its second pair", sum(row["kicked"] for row in control(test, "kick", "--domain", OTHER, "--role", "s2s-in")) == 1)
    test.check("and ends it", await error_of(caller) == "policy-violation")
    caller.close()


async def next_stanza(server):
    return (await asyncio.wait_for(server.stanzas.get(), 30)).get("from").partition("/")[0]


async def the_policy_changes(test, pki, server, juliet, bianca):
    stranger, known = await dial(pki, STRANGER, "stranger-ca"), await dial(pki, KNOWN, "our-ca")
    for client in (juliet, bianca):
        client.send_message(ROMEO, "While it is allowed")
        test.check(f"before the policy changes {client.boundjid.bare} reaches the stranger", await next_stanza(server) == client.boundjid.bare)
    test.check("streams --domain finds the stream outwards by its second pair", found(test, OTHER, "s2s-out") == [(OURS, STRANGER)])
    await says(test, "before the policy changes one that a certificate proves reaches us", known, bianca, "five")
    before = server.nr_connections
    start_im(test, "strict", OTHER, "--s2s-auth", "certificates-only")   # a second instance says so: the first one's streams stand
    test.check("the stranger's stream ends with reset", await error_of(stranger) == "reset")
    await says(test, "one that a certificate proves stands", known, bianca, "six")
    test.check("our pair ends", await word_in(f"{test.folder}/gateway.log", f"policy-changed from={OTHER} to={STRANGER}"))
    bianca.send_message(ROMEO, "Not any more")
    test.check("what is sent then comes back", await arrives(bianca, (ROMEO, "remote-server-timeout")))
    juliet.send_message(ROMEO, "Still allowed")
    test.check("the other pair's stream stands: the only new connection is the one that the new policy does not take",
               await next_stanza(server) == JULIET and server.stanzas.empty() and server.nr_connections == before + 1)
    for caller in (stranger, known):
        caller.close()


async def it_talks_back(test, pki, juliet):
    """A service that sends on a pair loses it, as if it had gone."""
    for name in ("strict", "other"):
        test.check(f"{name} ends with status 0", test.stop(name) == 0)
    ready(test.start("talkback", [sys.executable, os.path.join(HERE, "talkback.py"), f"{test.folder}/state", OTHER]))
    caller = await dial(pki, KNOWN, "our-ca")
    await says(test, "the first pair's message arrives beside a service that talks back", caller, juliet, "seven")
    to_bianca = f"<message from='someone@{KNOWN}' to='{BIANCA}'><body>{{}}</body></message>"
    caller.wire.send(to_bianca.format("acknowledged"))
    test.check("which acknowledged all it had: its pair ends", await word_in(f"{test.folder}/gateway.log", f"pair-ended from={KNOWN} to={OTHER} condition=not-authorized"))
    await says(test, "and the first goes on", caller, juliet, "eight")
    caller.wire.send(to_bianca.format("lost"))
    test.check("which has not: the stream ends", await asyncio.wait_for(error_of(caller), 20) == "internal-server-error")
    caller.close()
    test.check("the service that talks back ends with status 0", test.stop("talkback") == 0)


async def nothing_is_acknowledged(test, pki, juliet):
    """What a service that dies has not acknowledged is lost: the other server hears of it by its stream's end."""
    silent = test.start("silent", [f"{BUILD}/tests/live/silent", f"{test.folder}/state", OTHER])
    ready(silent)
    caller = await dial(pki, KNOWN, "our-ca")
    caller.wire.send(f"<message from='someone@{KNOWN}' to='{BIANCA}'><body>Lost</body></message>")
    await says(test, "the first pair goes on while the second's service acknowledges nothing", caller, juliet, "nine")
    silent.kill()
    test.check("when that dies the stream ends", await error_of(caller) == "system-shutdown")
    caller.close()


async def story(test, env, passwords, pki):
    server = await fake.Server(STRANGER, pki.context(True, STRANGER, "stranger-ca")).start(THEIR_ADDRESS)
    peers.start_dns(test, [peers.host("fake.example", THEIR_ADDRESS), peers.srv(STRANGER, "fake.example", server.port)])
    certificate(test.folder, "our-ca", OTHER, f"{test.folder}/our-certs")
    peers.start_ours(test, env, "our-ca", f"{test.folder}/our-certs", "--workers", "1")
    start_im(test, "other", OTHER)
    juliet, bianca = await enter(test, JULIET, passwords["juliet"]), await enter(test, BIANCA, passwords["juliet"])
    caller, bianca = await a_service_goes(test, pki, passwords, juliet, bianca)
    await they_are_kicked(test, caller)
    await the_policy_changes(test, pki, server, juliet, bianca)
    await it_talks_back(test, pki, juliet)
    await nothing_is_acknowledged(test, pki, juliet)
    for client in (juliet, bianca):
        client.disconnect()


def main():
    namespace.enter()
    test = Test("live.pairs")
    env, passwords = accounts(test, OURS, ("juliet",))
    subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{test.folder}/sasldb2", "-u", OTHER, "bianca"], input=passwords["juliet"].encode(), check=True, env=env)
    run(test, story(test, env, passwords, fake.Pki(test.folder)))
    for name in ("strict", "other", "im", "gateway"):
        if name in test.programs:
            test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
