#!/usr/bin/env python3
"""A domain that knows other servers by their certificates alone (`--s2s-auth certificates-only`), beside one that allows dialback: what each offers, takes, refuses and
sends; and certificates that spare a domain its dialback (XEP-0344). Against a small server of the test's own."""
import asyncio
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, arrives, certificate, login, ready, run  # noqa: E402
import fake  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS  # noqa: E402

GATEWAY = (OUR_ADDRESS, 5269)
LOOSE = "loose.example"                          # a domain of ours that allows dialback
BESIDE = "beside.example"                        # another one
JULIET, BIANCA, BRUNO = f"juliet@{OURS}", f"bianca@{LOOSE}", f"bruno@{BESIDE}"
NOTHING = fake.EXTERNAL + fake.DIALBACK          # what a server offers that would take anybody
# Remote servers that must get nothing of ours, and why.
UNPROVEN = {
    "unknown.example": "its authority is unknown",
    "expired.example": "its certificate is expired",
    "other.example": "its certificate is another's",
    "keys.example": "it offers dialback alone",
}


async def start_servers(pki):
    made = {
        "external.example": fake.Server("external.example", pki.context(True, "external.example"), NOTHING),
        "stranger.example": fake.Server("stranger.example", pki.context(True, "stranger.example", "stranger-ca")),
        "unknown.example": fake.Server("unknown.example", pki.context(True, "unknown.example", "stranger-ca"), NOTHING),
        "expired.example": fake.Server("expired.example", pki.context(True, "expired.example", days=-1), NOTHING),
        "other.example": fake.Server("other.example", pki.context(True, "other.example", san="elsewhere.example"), NOTHING),
        "keys.example": fake.Server("keys.example", pki.context(True, "keys.example")),
    }
    for server in made.values():
        await server.start(THEIR_ADDRESS)
    return made


def key(of, to):
    return f"<db:result from='{of}' to='{to}'>a-key</db:result>"


async def dial(pki, domain, to, *context, **how):
    return await fake.Dialler(domain, to).open(GATEWAY, pki.context(False, *context, **how))


def offers(caller):
    return caller.mechanisms(), caller.features.find(fake.name("urn:xmpp:features:dialback", "dialback")) is not None


def verdict(answer):
    """Of a db:result: type, and the error's condition."""
    return answer.get("type"), fake.condition(answer[0]) if len(answer) else None


async def inbound_refused(test, pki, servers):
    """Whoever comes without a certificate that is good hears not-authorized, and nobody is asked."""
    for what, domain, context, how in (("none", "external.example", (None,), {}), ("one of an unknown authority", "external.example", ("external.example", "stranger-ca"), {}),
                                       ("an expired one", "external.example", ("external.example",), {"days": -1}),
                                       ("one for another name", "external.example", ("external.example",), {"san": "elsewhere.example"})):
        caller = await dial(pki, domain, OURS, *context, **how)
        test.check(f"inbound, {what}: neither EXTERNAL nor dialback is offered", offers(caller) == ([], False))
        test.check(f"inbound, {what}: a dialback key is refused with not-authorized", verdict(await caller.ask(key(domain, OURS))) == ("error", "not-authorized"))
        test.check(f"inbound, {what}: EXTERNAL is refused with not-authorized", await caller.external() == "not-authorized")
        caller.wire.send(f"<message from='x@{domain}' to='{JULIET}'><body>forged</body></message>")
        test.check(f"inbound, {what}: a stanza ends the stream with not-authorized", fake.condition(await caller.wire.expect("element")) == "not-authorized")
        caller.close()
        caller = await dial(pki, domain, LOOSE, *context, **how)
        test.check(f"inbound, {what}: the domain beside it offers dialback", offers(caller) == ([], True))
        caller.close()
    test.check("inbound: no authoritative server was asked", servers["external.example"].nr_connections == 0)


async def inbound_taken(test, pki, servers, juliet, bianca):
    """By EXTERNAL; then further domains on the same stream, each by what the certificate says of it."""
    domain = "external.example"
    caller = await dial(pki, domain, OURS, domain, san=f"{domain},DNS:rooms.{domain}")
    test.check("inbound, a good certificate: EXTERNAL alone is offered", offers(caller) == (["EXTERNAL"], False))
    test.check("inbound, a good certificate: EXTERNAL is taken", await caller.external() is None)
    test.check("inbound, another domain of the certificate: its key is taken without a question (XEP-0344)",
               verdict(await caller.ask(key(f"rooms.{domain}", OURS))) == ("valid", None))
    test.check("inbound, a domain that the certificate does not name: not-authorized", verdict(await caller.ask(key("keys.example", OURS))) == ("error", "not-authorized"))
    for name, body in ((domain, "By EXTERNAL"), (f"rooms.{domain}", "By its certificate")):
        caller.wire.send(f"<message from='romeo@{name}' to='{JULIET}'><body>{body}</body></message>")
        test.check(f"inbound, {name}: its message arrives", await arrives(juliet, (f"romeo@{name}", body)))
    test.check("inbound, the same stream towards the domain that allows dialback: the certificate spares the question",
               verdict(await caller.ask(key(domain, LOOSE))) == ("valid", None))
    caller.wire.send(f"<message from='romeo@{domain}' to='{BIANCA}'><body>To the other</body></message>")
    test.check("inbound, the domain beside it: its message arrives", await arrives(bianca, (f"romeo@{domain}", "To the other")))
    test.check("inbound: nobody was called back for what the certificate proved", servers[domain].nr_connections == 0)
    answer = await caller.ask(key("keys.example", LOOSE))
    test.check("inbound, a domain that the certificate does not name, where dialback is allowed: its own server was asked",
               (answer.get("type"), servers["keys.example"].nr_connections) == ("valid", 1))
    caller.close()


async def without_external(test, pki, servers, bianca):
    """XEP-0344 where no EXTERNAL was tried: the key alone, with a certificate that is good, and with one that is not."""
    caller = await dial(pki, "external.example", LOOSE, "external.example")
    test.check("inbound, a key with a good certificate: valid", verdict(await caller.ask(key("external.example", LOOSE))) == ("valid", None))
    caller.wire.send(f"<message from='romeo@external.example' to='{BIANCA}'><body>By both</body></message>")
    test.check("inbound, a key with a good certificate: its message arrives", await arrives(bianca, ("romeo@external.example", "By both")))
    test.check("inbound, a key with a good certificate: nobody was called back", servers["external.example"].nr_connections == 0)
    caller.close()
    caller = await dial(pki, "stranger.example", LOOSE, "stranger.example", "stranger-ca")
    test.check("inbound, a key with a certificate that proves nothing: its own server was asked",
               (verdict(await caller.ask(key("stranger.example", LOOSE))), servers["stranger.example"].nr_connections) == (("valid", None), 1))
    caller.close()


async def many_at_once(test, pki):
    """More keys than are looked into at a time: the others wait, none is lost."""
    names = [f"r{i}.external.example" for i in range(60)]
    caller = await dial(pki, names[0], OURS, names[0], san=",DNS:".join(names))
    test.check("inbound, many domains of one certificate: the first comes by EXTERNAL", await caller.external() is None)
    caller.wire.send("".join(key(name, OURS) for name in names[1:]))
    answers = [await caller.wire.expect("element") for _ in names[1:]]
    test.check("inbound, many domains of one certificate: all keys are taken",
               {a.get("to") for a in answers} == set(names[1:]) and {verdict(a) for a in answers} == {("valid", None)})
    caller.close()


async def our_keys(test, pki):
    """We make no keys for that domain: whoever asks about one hears that it is none."""
    caller = await dial(pki, "external.example", OURS, "external.example")
    answer = await caller.ask(f"<db:verify from='external.example' to='{OURS}' id='one'>a-key</db:verify>")
    test.check("authoritative: a key of that domain is invalid, whatever it is", (answer.get("type"), answer.get("id")) == ("invalid", "one"))
    caller.close()


async def outbound(test, juliet, servers):
    errors = asyncio.Queue()
    juliet.add_event_handler("message_error", lambda m: errors.put_nowait((m["from"].domain, m["error"]["condition"], m["error"]["type"])))
    for domain in UNPROVEN:
        juliet.send_message(f"romeo@{domain}", "Wherefore art thou?")
    got = {domain: error for domain, *error in [await asyncio.wait_for(errors.get(), 30) for _ in UNPROVEN]}
    for domain, why in UNPROVEN.items():
        test.check(f"outbound, {domain} ({why}): remote-server-timeout, for good", got[domain] == ["remote-server-timeout", "cancel"])
        # keys.example was asked about a key of its own, too
        allowed = {"verify", "error", "close", "end"} if domain == "keys.example" else {"broken", "end"}
        test.check(f"outbound, {domain}: it got no key and no stanza", set(servers[domain].heard) <= allowed and servers[domain].stanzas.empty())
    while not juliet.inbox.empty():
        juliet.inbox.get_nowait()
    juliet.send_message("romeo@external.example", "Good night!")
    stanza = await asyncio.wait_for(servers["external.example"].stanzas.get(), 30)
    test.check("outbound, external.example: taken by its certificate, and ours", stanza.get("from").startswith(JULIET) and "auth" in servers["external.example"].heard)
    test.check("outbound, external.example: no dialback", "result" not in servers["external.example"].heard)


async def stricter(test, servers, password, bianca, bruno):
    """A domain changes its mind while a stream on which it could send stands, since another one uses it too."""
    romeo, server = "romeo@stranger.example", servers["stranger.example"]
    before = server.nr_connections
    for client, user in ((bianca, BIANCA), (bruno, BRUNO)):
        client.send_message(romeo, "While it is allowed")
        test.check(f"a change of policy, before it: {user} reaches a server with an unknown authority",
                   (await asyncio.wait_for(server.stanzas.get(), 30)).get("from").startswith(user))
    test.check("a change of policy, before it: both domains share a stream", server.nr_connections == before + 1)
    test.stop("loose")
    start_im(test, "loose", LOOSE, "--s2s-auth", "certificates-only")
    bianca, _ = await login(BIANCA, password, f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    bianca.send_message(romeo, "Not any more")
    test.check("a change of policy: behind it a message comes back", await arrives(bianca, (romeo, "remote-server-timeout")))
    bruno.send_message(romeo, "Still allowed")
    test.check("a change of policy: the other domain's stream stands, and nothing but that domain's came over it",
               (await asyncio.wait_for(server.stanzas.get(), 30)).get("from").startswith(BRUNO) and server.stanzas.empty())
    bianca.disconnect()


def start_im(test, name, domain, *flags):
    ready(test.start(name, [f"{BUILD}/services/im/ambrosia-im", "--domain", domain, "--state-dir", f"{test.folder}/state", "--database", f"{test.folder}/{name}.sqlite",
                            *flags]))


def shown(test):
    rows = json.loads(subprocess.run([f"{BUILD}/services/ctl/ambrosiactl", "--state-dir", f"{test.folder}/state", "services", "--json"], check=True, capture_output=True,
                                     timeout=60).stdout)
    return {row["domain"]: row["s2s-auth"] for row in rows}


async def story(test, env, passwords, pki):
    servers = await start_servers(pki)
    peers.start_dns(test, [peers.host("fake.example", THEIR_ADDRESS), *(peers.srv(domain, "fake.example", server.port) for domain, server in servers.items())])
    for domain in (LOOSE, BESIDE):
        certificate(test.folder, "our-ca", domain, f"{test.folder}/our-certs")
    peers.start_ours(test, env, "our-ca", f"{test.folder}/our-certs", "--s2s-timeout", "4", "--workers", "1", im=("--s2s-auth", "certificates-only"))
    start_im(test, "loose", LOOSE)
    start_im(test, "beside", BESIDE)
    test.check("ambrosiactl services shows the policy of each domain", shown(test) == {OURS: "certificates-only", LOOSE: "dialback", BESIDE: "dialback"})
    juliet, _ = await login(JULIET, passwords["juliet"], f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    bianca, _ = await login(BIANCA, passwords["juliet"], f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    await inbound_refused(test, pki, servers)
    await our_keys(test, pki)
    await many_at_once(test, pki)
    await inbound_taken(test, pki, servers, juliet, bianca)
    await without_external(test, pki, servers, bianca)
    await outbound(test, juliet, servers)
    bruno, _ = await login(BRUNO, passwords["juliet"], f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    await stricter(test, servers, passwords["juliet"], bianca, bruno)
    for client in (juliet, bruno):
        client.disconnect()


def main():
    namespace.enter()
    test = Test("live.certificates_only")
    env, passwords = accounts(test, OURS, ("juliet",))
    for domain, user in ((LOOSE, "bianca"), (BESIDE, "bruno")):
        subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{test.folder}/sasldb2", "-u", domain, user], input=passwords["juliet"].encode(), check=True, env=env)
    run(test, story(test, env, passwords, fake.Pki(test.folder)))
    for name in ("beside", "loose", "im", "gateway"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
