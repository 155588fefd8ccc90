#!/usr/bin/env python3
"""Federation as it must not go: wrong dialback keys, certificates for another name, expired ones, servers that are silent, stall, offer no TLS or are not there; in both
directions, against a small server of the test's own."""
import asyncio
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, arrives, login  # noqa: E402
import fake  # noqa: E402
import peers  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS  # noqa: E402

GATEWAY = (OUR_ADDRESS, 5269)
JULIET = f"juliet@{OURS}"
NOTHING = fake.EXTERNAL + fake.DIALBACK          # what a server offers that would take anybody
# The sender's stanza error for each domain that must not be reached.
ERRORS = {
    "other.example": "remote-server-timeout",    # its certificate is another's
    "plain.example": "remote-server-timeout",    # offers no TLS
    "denies.example": "internal-server-error",    # says that our key is invalid: XEP-0220 section 2.1.1
    "errs.example": "remote-server-timeout",    # could not verify it: section 2.4.2
    "silent.example": "remote-server-timeout",    # accepts and never speaks
    "stalls.example": "remote-server-timeout",    # says <proceed/> and no more
    "giant.example": "remote-server-timeout",    # sends a stream header without end
    "closed.example": "remote-server-timeout",    # nobody listens
    "none.example": "remote-server-not-found",    # SRV says "."
    "absent.example": "remote-server-not-found",    # no such name
}


async def says_nothing(wire):
    await wire.reader.read()


async def stalls_in_tls(wire):
    wire.send(fake.HEADER.format("stalls.example", OURS, "1") + fake.STARTTLS)
    while (await wire.event())[0] != "element":
        pass
    wire.send(f"<proceed xmlns='{fake.NS_TLS}'/>")
    await wire.reader.read()


async def talks_without_end(wire):
    wire.send("<?xml version='1.0'?><stream:stream")
    while not wire.reader.at_eof():
        wire.send(" " * 4096)
        await wire.writer.drain()
        await asyncio.sleep(0)


async def start_servers(pki):
    """The fake servers by domain."""
    made = {
        "external.example": fake.Server("external.example", pki.context(True, "external.example"), NOTHING),
        "dialback.example": fake.Server("dialback.example", pki.context(True, "dialback.example", "stranger-ca")),
        "expired.example": fake.Server("expired.example", pki.context(True, "expired.example", days=-1)),
        "other.example": fake.Server("other.example", pki.context(True, "other.example", san="elsewhere.example"), NOTHING),
        "plain.example": fake.Server("plain.example", None, NOTHING),
        "denies.example": fake.Server("denies.example", pki.context(True, "denies.example")),
        "keys.example": fake.Server("keys.example", pki.context(True, "keys.example")),
        "mute.example": fake.Server("mute.example", pki.context(True, "mute.example")),
        "lately.example": fake.Server("lately.example", None),
        "errs.example": fake.Server("errs.example", pki.context(True, "errs.example")),
        "silent.example": fake.Server("silent.example", None, before=says_nothing),
        "stalls.example": fake.Server("stalls.example", None, before=stalls_in_tls),
        "giant.example": fake.Server("giant.example", None, before=talks_without_end),
    }
    made["mute.example"].answer_verify = never
    made["denies.example"].answer_result = answers("invalid")
    made["errs.example"].answer_result = answers("error")
    for server in made.values():
        await server.start(THEIR_ADDRESS)
    return made


async def never(_attributes, _key):
    await asyncio.Event().wait()


def answers(verdict):
    async def answer(_attributes, _key):
        return verdict
    return answer


async def closed_port():
    """A port that nobody listens on, and that nobody will while its socket is held."""
    import socket
    holder = socket.socket()
    holder.bind((THEIR_ADDRESS, 0))
    return holder


def dns_records(servers, closed):
    ports = {domain: server.port for domain, server in servers.items()}
    ports["closed.example"] = closed.getsockname()[1]
    return [peers.host("fake.example", THEIR_ADDRESS), "--srv-host=_xmpp-server._tcp.none.example",
            *(peers.srv(domain, "fake.example", port) for domain, port in ports.items())]


# --- we call ------------------------------------------------------------------------------------------------------------------------------


async def outbound(test, juliet, servers):
    errors = asyncio.Queue()
    juliet.add_event_handler("message_error", lambda m: errors.put_nowait((m["from"].domain, m["error"]["condition"])))
    for domain in ERRORS:
        juliet.send_message(f"romeo@{domain}", "Wherefore art thou?")
    got = dict([await asyncio.wait_for(errors.get(), 30) for _ in ERRORS])
    for domain, error in ERRORS.items():
        test.check(f"outbound, {domain}: {error}" + ("" if got[domain] == error else f", not {got[domain]}"), got[domain] == error)
    for domain in ERRORS:
        if domain in servers:
            test.check(f"outbound, {domain}: no stanza left", servers[domain].stanzas.empty())
    test.check("outbound, other.example: not a word was said to it after its certificate",
               peers.logged(f"{test.folder}/gateway.log", "trusted=1 named=0") and set(servers["other.example"].heard) <= {"broken"})
    test.check("outbound, plain.example: nothing was said in the clear but the headers and the error",
               set(servers["plain.example"].heard) <= {"error", "close", "end"})
    while not juliet.inbox.empty():
        juliet.inbox.get_nowait()


async def outbound_taken(test, juliet, servers):
    for domain, why in (("external.example", "by its certificate"), ("dialback.example", "by dialback, its authority being unknown"),
                        ("expired.example", "by dialback, its certificate being expired")):
        juliet.send_message(f"romeo@{domain}", "Good night!")
        stanza = await asyncio.wait_for(servers[domain].stanzas.get(), 30)
        test.check(f"outbound, {domain}: taken {why}", stanza.get("from").startswith(JULIET))


async def our_keys(test, juliet, pki, domain, servers):
    """While our key waits for its verification, we are asked about it, and about keys that are not ours."""
    server, told = servers[domain], {}

    async def verify(attributes, key):
        asker = await fake.Dialler(domain, OURS).open(GATEWAY, pki.context(False, None))
        broken = ("0" if key[0] != "0" else "1") + key[1:]
        for what, sender, stream, text in (("right", domain, f"id-of-{domain}", key), ("key", domain, f"id-of-{domain}", broken),
                                           ("id", domain, "another", key), ("asker", "external.example", f"id-of-{domain}", key),
                                           ("short", domain, f"id-of-{domain}", key[:-1])):
            answer = await asker.ask(f"<db:verify from='{sender}' to='{OURS}' id='{stream}'>{text}</db:verify>")
            told[what] = answer.get("type"), answer.get("id")
        asker.close()
        return told["right"][0]

    server.answer_result = verify
    juliet.send_message(f"romeo@{domain}", "A key of ours")
    await asyncio.wait_for(server.stanzas.get(), 30)
    test.check("authoritative: our own key is valid", told.pop("right") == ("valid", f"id-of-{domain}"))
    for what, (verdict, _) in told.items():
        test.check(f"authoritative: a verification with a wrong {what} is answered invalid", verdict == "invalid")


async def held_back(test, juliet, pki, server):
    """What failed is not dialled again at once, but told again; being heard from makes it worth another try."""
    error = ("romeo@lately.example", "remote-server-timeout")
    juliet.send_message("romeo@lately.example", "First")
    first = await arrives(juliet, error)
    for _ in range(20):
        juliet.send_message("romeo@lately.example", "Again")
    told = [await arrives(juliet, error) for _ in range(20)]
    # Once, or twice if all that took longer than the first wait.
    test.check("back-off: what failed is told to all who ask, and not dialled for each", first and all(told) and server.nr_connections <= 2)
    server.context = pki.context(True, "lately.example")
    caller = await fake.Dialler("lately.example", OURS).open(GATEWAY, pki.context(False, "lately.example"))
    taken = await caller.external() is None
    juliet.send_message("romeo@lately.example", "At last")
    stanza = await asyncio.wait_for(server.stanzas.get(), 10)
    test.check("back-off: a domain that speaks to us is dialled again", taken and stanza.get("to") == "romeo@lately.example")
    caller.close()


# --- they call ----------------------------------------------------------------------------------------------------------------------------


async def certificates(test, pki):
    other = await fake.Dialler("external.example", OURS).open(GATEWAY, pki.context(False, "external.example", san="elsewhere.example"))
    test.check("inbound, a certificate for another name: EXTERNAL is not offered", other.mechanisms() == [])
    test.check("inbound, a certificate for another name: EXTERNAL is refused with not-authorized", await other.external() == "not-authorized")
    other.wire.send("<message from='x@external.example' to='juliet@capulet.example'><body>forged</body></message>")
    error = await other.wire.expect("element")
    test.check("inbound, a stanza after the refusal ends the stream with not-authorized", fake.condition(error) == "not-authorized")
    other.close()
    for what, context in (("expired", pki.context(False, "external.example", days=-1)), ("of an authority unknown here",
                          pki.context(False, "external.example", "stranger-ca")), ("missing", pki.context(False, None))):
        caller = await fake.Dialler("external.example", OURS).open(GATEWAY, context)
        test.check(f"inbound, a certificate that is {what}: EXTERNAL is refused with not-authorized",
                   (caller.mechanisms(), await caller.external()) == ([], "not-authorized"))
        caller.close()


async def our_own_domain(test, juliet, pki):
    """A certificate for a domain of ours, however good, is no word from outside in its name."""
    caller = await fake.Dialler(OURS, OURS).open(GATEWAY, pki.context(False, OURS))
    test.check("inbound, a good certificate for our own domain: EXTERNAL is not offered, and refused with not-authorized",
               (caller.mechanisms(), await caller.external()) == ([], "not-authorized"))
    caller.wire.send(f"<message from='nurse@{OURS}' to='{JULIET}'><body>forged</body></message>")
    test.check("inbound, a stanza in the name of our own domain ends the stream with not-authorized",
               fake.condition(await caller.wire.expect("element")) == "not-authorized")
    caller.close()


async def own_certificate(test, juliet, pki):
    caller = await fake.Dialler("external.example", OURS).open(GATEWAY, pki.context(False, "external.example"))
    test.check("inbound, the right certificate: EXTERNAL is offered and taken", (caller.mechanisms(), await caller.external()) == (["EXTERNAL"], None))
    caller.wire.send(f"<message from='romeo@external.example' to='{JULIET}'><body>By certificate</body></message>")
    test.check("inbound, the right certificate: its message arrives", await arrives(juliet, ("romeo@external.example", "By certificate")))
    caller.wire.send(f"<message from='romeo@dialback.example' to='{JULIET}'><body>Another domain</body></message>")
    test.check("inbound, a stanza from a domain that was not proven: invalid-from", fake.condition(await caller.wire.expect("element")) == "invalid-from")
    caller.close()


async def dialback(test, juliet, pki, servers):
    """The gateway asks dialback.example's own server, which knows one key."""
    asked = []

    async def verify(attributes, key):
        asked.append((attributes["from"], attributes["to"], key))
        return {"right": "valid", "unknown": "error"}.get(key, "invalid")

    servers["dialback.example"].answer_verify = verify
    # Answers to questions that were not asked, which must not be taken for the one that was.
    servers["dialback.example"].noise = "".join(
        f"<db:verify from='{f}' to='{t}' id='{i}' type='valid'/>" for f, t, i in (
            ("dialback.example", OURS, "another"), ("external.example", OURS, "0"), ("dialback.example", "external.example", "0")))
    caller = await fake.Dialler("dialback.example", OURS).open(GATEWAY, pki.context(False, None))
    answer = await caller.ask(f"<db:result from='dialback.example' to='{OURS}'>unknown</db:result>")
    test.check("inbound, an authoritative server that cannot say: a dialback error, and the stream goes on",
               (answer.get("type"), fake.condition(answer[0])) == ("error", "remote-server-not-found"))
    answer = await caller.ask(f"<db:result from='dialback.example' to='{OURS}'>wrong</db:result>")
    test.check("inbound, a wrong dialback key: the authoritative server was asked", asked[-1] == (OURS, "dialback.example", "wrong"))
    test.check("inbound, a wrong dialback key: invalid", answer.get("type") == "invalid")
    test.check("inbound, a wrong dialback key: the stream ends", await caller.wire.event() == ("close", None))
    caller.close()
    caller = await fake.Dialler("dialback.example", OURS).open(GATEWAY, pki.context(False, None))
    answer = await caller.ask(f"<db:result from='{OURS}' to='{OURS}'>right</db:result>")
    test.check("inbound, somebody who claims our own domain: invalid, nobody being asked", (answer.get("type"), len(asked)) == ("invalid", 2))
    caller.close()
    caller = await fake.Dialler("dialback.example", OURS).open(GATEWAY, pki.context(False, None))
    answer = await caller.ask(f"<db:result from='dialback.example' to='{OURS}'>right</db:result>")
    test.check("inbound, the right dialback key: valid", answer.get("type") == "valid")
    caller.wire.send(f"<message from='romeo@dialback.example' to='{JULIET}'><body>By dialback</body></message>")
    # Nothing of the refused streams came before it.
    test.check("inbound, the right dialback key: its message arrives, and nothing before it", await arrives(juliet, ("romeo@dialback.example", "By dialback")))
    caller.close()


async def unanswered(test, pki):
    """An authoritative server that takes the question and never answers: the time allowed covers the answer too."""
    caller = await fake.Dialler("mute.example", OURS).open(GATEWAY, pki.context(False, None))
    answer = await caller.ask(f"<db:result from='mute.example' to='{OURS}'>unanswered</db:result>")
    test.check("inbound, an authoritative server that never answers: remote-server-timeout",
               (answer.get("type"), fake.condition(answer[0])) == ("error", "remote-server-timeout"))
    caller.close()


def ctl(test, *args):
    return subprocess.run([f"{BUILD}/services/ctl/ambrosiactl", "--state-dir", f"{test.folder}/state", *args], capture_output=True, timeout=60).returncode == 0


async def blocked(test, juliet, pki, servers):
    """An operator blocks a domain while its server's stream stands: nothing passes either way until the block is taken back."""
    domain = "external.example"
    standing = await fake.Dialler(domain, OURS).open(GATEWAY, pki.context(False, domain))
    await standing.external()
    test.check("an operator blocks a domain", ctl(test, "block", domain))
    event = await standing.wire.expect("element")
    test.check("blocked, inbound: the stream that stands ends with policy-violation", fake.condition(event) == "policy-violation")
    standing.close()
    caller = await fake.Dialler(domain, OURS).open(GATEWAY, pki.context(False, domain))
    test.check("blocked, inbound: its right certificate is no good", (caller.mechanisms(), await caller.external()) == ([], "not-authorized"))
    caller.close()
    caller = await fake.Dialler(domain, OURS).open(GATEWAY, pki.context(False, None))
    answer = await caller.ask(f"<db:result from='{domain}' to='{OURS}'>any</db:result>")
    test.check("blocked, inbound: dialback is refused with policy-violation, nobody being asked",
               (answer.get("type"), fake.condition(answer[0])) == ("error", "policy-violation"))
    caller.close()
    juliet.send_message(f"romeo@{domain}", "Not now")
    test.check("blocked, outbound: the sender is told", await arrives(juliet, (f"romeo@{domain}", "remote-server-timeout")))
    test.check("the block is taken back", ctl(test, "unblock", domain))
    juliet.send_message(f"romeo@{domain}", "Now")
    stanza = await asyncio.wait_for(servers[domain].stanzas.get(), 30)
    test.check("unblocked, outbound: the next message arrives, the one before never did", stanza[0].text == "Now")


async def story(test, env, passwords, pki):
    servers, closed = await start_servers(pki), await closed_port()
    peers.start_dns(test, dns_records(servers, closed))
    peers.start_ours(test, env, "our-ca", f"{test.folder}/our-certs", "--s2s-timeout", "4")
    juliet, _ = await login(JULIET, passwords["juliet"], f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    await certificates(test, pki)
    await our_own_domain(test, juliet, pki)
    await own_certificate(test, juliet, pki)
    await dialback(test, juliet, pki, servers)
    await asyncio.gather(outbound(test, juliet, servers), unanswered(test, pki))
    await our_keys(test, juliet, pki, "keys.example", servers)
    await held_back(test, juliet, pki, servers["lately.example"])
    await outbound_taken(test, juliet, servers)
    await blocked(test, juliet, pki, servers)
    juliet.disconnect()
    closed.close()


fake.play("live.refusals", story)
