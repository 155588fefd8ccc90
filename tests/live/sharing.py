#!/usr/bin/env python3
"""What a stream that several pairs of domains share must stand, with a small server of the test's own: pairs that come and go, that are refused, called false or never
answered; a flood beside which others get through; where stanzas go both ways, whose are taken; how many keys a stranger may show at once, and what many streams of his
have us dial."""
import asyncio
import os
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, arrives, certificate, login, ready, run  # noqa: E402
import fake  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS  # noqa: E402

OTHER = "verona.example"                                 # ours as well
MANY = [f"k{i}.many.example" for i in range(80)]
SILENT = [f"k{i}.silent.example" for i in range(640)]
HONEST_ADDRESS = "127.0.0.3"                             # of one who calls us
HTTP = f"{OUR_ADDRESS}:5288"
BIDI = "<bidi xmlns='urn:xmpp:features:bidi'/>"
MESSAGE = "<message type='chat' from='{}' to='juliet@{}'><body>{}</body></message>"
# What a server may not say on a stream that we made to it, {b}.
FALSE = (("another domain's stanza", MESSAGE.format("romeo@rooms.{b}", OURS, "false")),
         ("a stanza to a domain that has no pair here", MESSAGE.format("romeo@{b}", OTHER, "false")),
         ("a stanza in our own name", MESSAGE.format(f"romeo@{OURS}", OURS, "false")),
         ("an answer that nobody asked for", f"<db:result from='rooms.{{b}}' to='{OURS}' type='valid'/>"))


class Server(fake.Server):
    """Knows on which of its streams (numbered) a stanza came: `came` holds (number, from, body). `say` answers a dialback question by the domain that asks and how often
    it did; None: never. While `reads` is clear it does not read."""

    def __init__(self, domain, context, features=fake.DIALBACK, say=lambda _domain, _times: "valid"):
        super().__init__(domain, context, features)
        self.wires, self.came, self.asked, self.say = [], asyncio.Queue(), [], say
        self.reads = asyncio.Event()
        self.reads.set()
        self.answer_result = self.answer

    async def answer(self, attributes, _key):
        self.asked.append(attributes["from"])
        verdict = self.say(attributes["from"], self.asked.count(attributes["from"]))
        return verdict if verdict is not None else await asyncio.Future()

    async def go_on(self, wire):
        self.wires.append(wire)
        await super().go_on(wire)

    async def step(self, wire):
        await self.reads.wait()
        goes_on = await super().step(wire)
        while not self.stanzas.empty():
            stanza = self.stanzas.get_nowait()
            if stanza.tag == "{jabber:server}message":
                self.came.put_nowait((self.wires.index(wire), stanza.get("from").split("/")[0], stanza.findtext("{jabber:server}body")))
        return goes_on

    async def message(self, seconds=30):
        return await asyncio.wait_for(self.came.get(), seconds)


async def tell(server, client, user, body):
    """(stream, from, body) of what arrives."""
    client.send_message(f"{user}@{server.domain}", body)
    return await server.message()


def start_im(test, name, domain):
    ready(test.start(name, [f"{BUILD}/services/im/ambrosia-im", "--domain", domain, "--state-dir", f"{test.folder}/state", "--database",
                            f"{test.folder}/{name}.sqlite"]))


async def share(test, juliet, other, server):
    got = [await tell(server, juliet, "romeo", "one"), await tell(server, other, "romeo", "two"), await tell(server, juliet, "romeo", "three")]
    test.check("two of our domains share a stream", [(stream, body) for stream, _, body in got] == [(0, "one"), (0, "two"), (0, "three")])
    test.check("each was asked for once", server.asked == [OURS, OTHER])


async def part(test, passwords, juliet, server):
    test.stop("im-other")
    test.check("a pair ends, the stream stays for the other", (await tell(server, juliet, "romeo", "four"))[0::2] == (0, "four"))
    start_im(test, "im-other", OTHER)
    other, outcome = await login(f"juliet@{OTHER}", passwords, f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    test.check("the ended pair comes back, and is not asked for again",
               (outcome, (await tell(server, other, "romeo", "five"))[0::2], server.asked) == ("in", (0, "five"), [OURS, OTHER]))
    return other


async def refused(test, juliet, other, server):
    got = [await tell(server, juliet, "romeo", "one"), await tell(server, other, "romeo", "two"), await tell(server, juliet, "romeo", "three")]
    test.check("a pair that a stream does not take gets one of its own", [(stream, body) for stream, _, body in got] == [(0, "one"), (1, "two"), (0, "three")])
    test.check("it asked here and there", server.asked == [OURS, OTHER, OTHER])


async def mute(test, juliet, other, server):
    first, second = await tell(server, juliet, "romeo", "one"), await tell(server, other, "romeo", "two")
    test.check("a pair whose question is never answered gets a stream of its own", (first[0], second[0::2]) == (0, (1, "two")))


async def false_key(test, juliet, other, server):
    first = await tell(server, juliet, "romeo", "one")
    other.send_message(f"romeo@{server.domain}", "two")
    test.check("a key that is called false: internal-server-error", await arrives(other, (f"romeo@{server.domain}", "internal-server-error")))
    second = await tell(server, juliet, "romeo", "three")
    if second[1:] == first[1:]:                          # nobody had said that it arrived
        second = await server.message()
    test.check("it ends the stream, and the other pair gets a new one", (first[0], second[0::2]) == (0, (1, "three")))
    test.check("the pair that did it goes alone from there on", (await tell(server, other, "romeo", "four"))[0::2] == (2, "four"))


def drained(client):
    got = []
    while not client.inbox.empty():
        got.append(client.inbox.get_nowait())
    return got


async def flood(test, juliet, other, server):
    await tell(server, juliet, "romeo", "one")
    await tell(server, other, "romeo", "two")
    server.reads.clear()
    # Until all that lies between is full, and the service says so to the sender.
    while not any(sender == f"romeo@{server.domain}" for sender, _ in drained(juliet)):
        juliet.send_message(f"romeo@{server.domain}", "x" * 20000)
        await asyncio.sleep(0.005)
    other.send_message(f"romeo@{server.domain}", "small")
    server.reads.set()
    before = after = 0
    small_on = None
    while after < 20:
        stream, _, body = await server.message()
        if body == "small":
            small_on = stream
        elif small_on is None:
            before += 1
        else:
            after += 1
    print(f"   {before} large stanzas before the small one", flush=True)
    test.check("a small stanza of one pair gets through beside the flood of another, on the same stream", small_on == 0 and before > 20)


async def error_on(server, wire_number, text):
    """What our gateway ends the stream with, once it was told this."""
    server.wires[wire_number].send(text)
    return await asyncio.wait_for(server.errors.get(), 30)


async def both_ways(test, juliet, server):
    b = server.domain
    await tell(server, juliet, "romeo", "one")
    test.check("both ways: it was agreed to", "bidi" in server.heard)
    server.wires[0].send(MESSAGE.format(f"romeo@{b}", OURS, "back"))
    test.check("both ways: what comes back on our stream arrives", await arrives(juliet, (f"romeo@{b}", "back")))
    server.wires[0].send(f"<db:result from='rooms.{b}' to='{OURS}'>abc</db:result>")
    server.wires[0].send(MESSAGE.format(f"romeo@{b}", OURS, "still here"))
    test.check("both ways: another domain is not taken by its key on our stream, which goes on", await arrives(juliet, (f"romeo@{b}", "still here")))


async def whose(test, juliet, other, servers):
    """Each on a stream of its own, which it ends."""
    for (what, text), b in zip(FALSE, servers):
        await tell(b, juliet, "romeo", "one")
        test.check(f"both ways: {what} ends the stream with invalid-from", await error_on(b, 0, text.format(b=b.domain)) == "invalid-from")
    # What had not been acknowledged on these streams may have come back by now.
    test.check("both ways: nothing of that arrived", all(body != "false" for _, body in drained(juliet) + drained(other)))


async def keys_at_once(caller, names):
    """The answers to these domains' keys that came before the one to a question behind them."""
    caller.wire.send("".join(f"<db:result from='{name}' to='{OURS}'>a-key</db:result>" for name in names))
    answers = [await caller.ask(f"<db:verify from='many.example' to='{OURS}' id='{names[0]}'>false</db:verify>")]
    while answers[-1].tag != fake.name(fake.NS_DIALBACK, "verify"):
        answers.append(await caller.wire.expect("element"))
    return answers[:-1]


async def valid_ones(caller, nr):
    answers = [await caller.wire.expect("element") for _ in range(nr)]
    return {a.get("to") for a in answers if a.get("type") == "valid"}


async def strangers_keys(test, pki, server):
    """Of who has proven nothing yet 16 keys are looked into and 16 wait; behind the first that is valid, as many as a stream may have pairs."""
    says = asyncio.Event()

    async def verify(_attributes, _key):
        await says.wait()
        return "valid"

    server.answer_verify = verify
    caller = await fake.Dialler("many.example", OURS).open((OUR_ADDRESS, 5269), pki.context(False, None))
    refused = await keys_at_once(caller, MANY[:40])
    test.check("40 keys of a stranger at once: the last eight are refused with resource-constraint, the stream goes on",
               [(a.get("to"), a.get("type"), fake.condition(a[0])) for a in refused] == [(name, "error", "resource-constraint") for name in MANY[32:40]])
    says.set()
    test.check("the 32 before them are valid, once their server has said so", await valid_ones(caller, 32) == set(MANY[:32]))
    says.clear()
    test.check("40 more, when some are proven: none is refused", await keys_at_once(caller, MANY[40:]) == [])
    says.set()
    test.check("all of them are valid", await valid_ones(caller, 40) == set(MANY[40:]))
    caller.close()


async def liars_keys(test, pki, server):
    """The first key that is false ends the stream; those that wait behind it have us dial nobody, while it is not gone."""
    says = asyncio.Event()

    async def verify(_attributes, _key):
        await says.wait()
        return "invalid"

    server.answer_verify, before = verify, server.nr_connections
    caller = await fake.Dialler("many.example", OURS).open((OUR_ADDRESS, 5269), pki.context(False, None))
    test.check("32 keys of a liar at once: none is refused", await keys_at_once(caller, MANY[:32]) == [])
    test.check("16 are looked into", await holds(lambda: server.nr_connections == before + 16))
    says.set()
    test.check("one is invalid", (await caller.wire.expect("element")).get("type") == "invalid")
    while (await caller.wire.event())[0] != "close":
        pass
    await asyncio.sleep(1.5)   # our closing tag is awaited for twice that
    test.check(f"the stream ends, and no more are looked into ({server.nr_connections - before})", server.nr_connections == before + 16)
    caller.close()


class Silent(fake.Server):
    """Takes connections and says nothing. `most`: at a time."""

    def __init__(self, domain):
        super().__init__(domain, None, before=self.hear_out)
        self.nr_now = self.most = 0

    async def hear_out(self, wire):
        self.nr_now += 1
        self.most = max(self.most, self.nr_now)
        try:
            while await wire.reader.read(16384):
                pass
        finally:
            self.nr_now -= 1


def nr_descriptors(test, program):
    return len(os.listdir(f"/proc/{test.programs[program].pid}/fd"))


def nr_not_reached():
    """What the gateway counts of connections to other servers that came to nothing in time."""
    page = urllib.request.urlopen(f"http://{HTTP}/metrics", timeout=20).read().decode()
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith('ambrosia_s2s_out_total{result="timeout"}'))


async def crowd(test, pki, juliet, silent, servers):
    """Forty streams from one address, each with sixteen keys of domains whose server says nothing."""
    context, before = pki.context(False, None), nr_descriptors(test, "gateway")
    callers = [await fake.Dialler(SILENT[0], OURS).open((OUR_ADDRESS, 5269), context) for _ in range(40)]
    for i, caller in enumerate(callers):
        caller.wire.send("".join(f"<db:result from='{name}' to='{OURS}'>a-key</db:result>" for name in SILENT[16 * i:16 * i + 16]))
    test.check("forty streams of a stranger: connections are made for some keys", await holds(lambda: silent.nr_connections >= 16))
    honest = await fake.Dialler("many.example", OURS).open((OUR_ADDRESS, 5269), context, HONEST_ADDRESS)
    servers["many.example"].answer_verify = fake.Server.say_valid
    answer = await asyncio.wait_for(honest.ask(f"<db:result from='{MANY[0]}' to='{OURS}'>a-key</db:result>"), 5)
    test.check("who calls from another address is believed meanwhile", answer.get("type") == "valid")
    test.check("a message to a server that was never dialled arrives meanwhile", (await tell(servers["late.example"], juliet, "romeo", "late"))[2] == "late")
    # The first are given up after eight seconds, and the next are begun.
    test.check("others have their turn when those have had theirs", await holds(lambda: silent.nr_connections > 16))
    after = nr_descriptors(test, "gateway")
    test.check("those that were given up are counted", nr_not_reached() >= 16)
    test.check(f"no more than sixteen connections at a time ({silent.most}, descriptors {before} to {after})", silent.most <= 16 and after < before + 40 + 40)
    for caller in (*callers, honest):
        caller.close()
    test.check("when they have left, no more are made", await holds(lambda: silent.nr_now == 0))


async def story(test, env, password, pki):
    names = ["late.example", "share.example", "errs.example", "false.example", "mute.example", "flood.example", "both.example"] + [f"false{i}.example" for i in range(len(FALSE))]
    context = {name: pki.context(True, name) for name in names}
    servers = {
        "share.example": Server("share.example", context["share.example"]),
        "errs.example": Server("errs.example", context["errs.example"], say=lambda domain, times: "error" if domain == OTHER and times == 1 else "valid"),
        "false.example": Server("false.example", context["false.example"], say=lambda domain, times: "invalid" if domain == OTHER and times == 1 else "valid"),
        "mute.example": Server("mute.example", context["mute.example"], say=lambda domain, times: None if domain == OTHER and times == 1 else "valid"),
        "flood.example": Server("flood.example", context["flood.example"]),
        "many.example": Server("many.example", pki.context(True, "many.example", "stranger-ca")),
        "late.example": Server("late.example", context["late.example"]),
        **{name: Server(name, context[name], BIDI + fake.DIALBACK) for name in names[names.index("both.example"):]},
    }
    silent = Silent("silent.example")
    for server in (*servers.values(), silent):
        await server.start(THEIR_ADDRESS)
    peers.start_dns(test, [peers.host("fake.example", THEIR_ADDRESS), *(peers.srv(name, "fake.example", s.port) for name, s in servers.items()),
                           *(peers.srv(name, "fake.example", servers["many.example"].port) for name in MANY),
                           *(peers.srv(name, "fake.example", silent.port) for name in SILENT)])
    state = f"{test.folder}/state"
    ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", f"{OUR_ADDRESS}:5222", "--c2s-direct", "none",
                                 "--s2s", f"{OUR_ADDRESS}:5269", "--public-host", OURS, "--certs", f"{test.folder}/our-certs", "--workers", "1", "--http", HTTP],
                     dict(env, SSL_CERT_FILE=f"{test.folder}/our-ca.pem", SSL_CERT_DIR=f"{test.folder}/none")))
    start_im(test, "im", OURS)
    start_im(test, "im-other", OTHER)
    juliet, _ = await login(f"juliet@{OURS}", password, f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    other, _ = await login(f"juliet@{OTHER}", password, f"{test.folder}/our-ca.pem", (OUR_ADDRESS, 5222), "PLAIN")
    await share(test, juliet, other, servers["share.example"])
    other = await part(test, password, juliet, servers["share.example"])
    await refused(test, juliet, other, servers["errs.example"])
    await false_key(test, juliet, other, servers["false.example"])
    await mute(test, juliet, other, servers["mute.example"])
    await both_ways(test, juliet, servers["both.example"])
    await whose(test, juliet, other, [servers[f"false{i}.example"] for i in range(len(FALSE))])
    await strangers_keys(test, pki, servers["many.example"])
    await liars_keys(test, pki, servers["many.example"])
    await crowd(test, pki, juliet, silent, servers)
    await flood(test, juliet, other, servers["flood.example"])
    # The services go, and with them the last pairs.
    for name in ("im", "im-other"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    closed = servers["share.example"]
    test.check("the stream closes with its last pair", await holds(lambda: "close" in closed.heard))


async def holds(what, seconds=30):
    for _ in range(seconds * 20):
        if what():
            return True
        await asyncio.sleep(0.05)
    return False


def main():
    namespace.enter()
    test = Test("live.sharing")
    env, passwords = accounts(test, OURS, ("juliet",))
    subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{test.folder}/sasldb2", "-u", OTHER, "juliet"], input=passwords["juliet"].encode(), check=True, env=env)
    pki = fake.Pki(test.folder)
    certificate(test.folder, "our-ca", OTHER, f"{test.folder}/our-certs")
    run(test, story(test, env, passwords["juliet"], pki), 300)
    test.check("gateway ends with status 0 at SIGTERM", test.stop("gateway") == 0)
    test.finish()


main()
