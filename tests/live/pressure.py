#!/usr/bin/env python3
"""Back-pressure on the wire: a client that never reads, a service that never acknowledges, a remote server that never reads, floods that wait for each other, stanzas that do not end, a
service that takes all the room there is. Each stalls itself alone, is held within bounds, and ends in a clear close after its deadline; nothing that was acknowledged is lost."""
import asyncio
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, ready, run  # noqa: E402
import fake  # noqa: E402
import namespace  # noqa: E402
import peers  # noqa: E402
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS  # noqa: E402
from pressing import Presser, Watch, account  # noqa: E402

ECHO, MUTE, CALLER, PASSWORD = "echo.example", "mute.example", "caller.example", "a-password"
USERS = {OURS: ("alice", "bella", "carol", "sloth", "snail"), ECHO: ("emma", "ellen", "eric"), MUTE: ("mona", "milan")}


class Scene:
    def __init__(self, test, servers, caller, ca, ports, watches):
        self.test, self.servers, self.caller, self.ca, self.watches, self.check = test, servers, caller, ca, watches, test.check
        self.address, self.s2s = [(OUR_ADDRESS, int(ports[what].rpartition(":")[2])) for what in ("c2s-direct", "s2s")]

    async def enter(self, name, domain=OURS, **how):
        return await Presser(name, domain, self.address, self.ca).enter(PASSWORD, **how)

    async def held(self, what):
        return await self.watches[0].value('ambrosia_held_bytes{what="%s"}' % what)

    def weigh(self):
        """The resident memory of gateway and IM service."""
        return [w.resident() for w in self.watches]

    async def closes(self, reason):
        return await self.watches[0].value('ambrosia_stream_closes_total{reason="%s"}' % reason)

    async def closed(self, reason, nr):
        return await self.watches[0].until('ambrosia_stream_closes_total{reason="%s"}' % reason, lambda n: n >= nr)


async def leave(*clients):
    for c in clients:
        if not c.over.is_set():
            await c.leave()


async def never_reads(s):
    """Three correspondents send it more than anything on the way holds."""
    alice, bella, carol = [await s.enter(name) for name in ("alice", "bella", "carol")]
    sloth = await s.enter("sloth", managed=False)
    sloth.reading.clear()
    for c in (alice, bella, carol):
        c.start_pressing(f"sloth@{OURS}/r", range(300), 4000)
    s.check("who writes to a client that never reads can write on", all([await c.written() for c in (alice, bella, carol)]))
    for c in (alice, bella, carol):
        c.ask()
    s.check("and all of it is acknowledged", all([await c.until(lambda: c.acked == c.sent) for c in (alice, bella, carol)]))
    s.check("what is held for it is a window and a mark, no more", 0 < await s.held("output") <= 65536 + 32768 + 3 * 4200)
    s.check("their conversations go on meanwhile", await alice.talk(bella, 50, f"bella@{OURS}/r"))
    s.check("and it is still there", await s.closes("stalled") == 0)
    s.check("after its time it is closed", await s.closed("stalled", 1))
    sloth.reading.set()
    s.check("and hears why: connection-timeout", await sloth.until(lambda: sloth.over.is_set()) and sloth.error == "connection-timeout")
    again = await s.enter("sloth")
    everything = {(c.name, n) for c in (alice, bella, carol) for n in range(300)}
    s.check("nothing that was acknowledged is lost", await again.until(
        lambda: everything <= set(sloth.came) | set(again.came) | {(who, n) for c in (alice, bella, carol) for who, n, _ in c.bounced}))
    print(f"   read at the end {len(sloth.came)}, offline {len(again.came)}, bounced {sum(len(c.bounced) for c in (alice, bella, carol))}", flush=True)
    await leave(alice, bella, carol, again)


async def never_answers(s):
    """The same with stream management: it is asked with <r/>, does not answer, and may come back for what it missed."""
    alice, snail = await s.enter("alice"), await s.enter("snail")
    snail.reading.clear()
    await alice.press(f"snail@{OURS}/r", range(300), 4000)
    alice.ask()
    s.check("a client with stream management that never reads: its correspondent's stanzas are acknowledged", await alice.until(lambda: alice.acked == alice.sent))
    s.check("after its time it is closed: ack-timeout, or stalled", await s.closed("ack-timeout", 1) or await s.closed("stalled", 2))
    snail.close()
    again = Presser("snail", OURS, s.address, s.ca)
    s.check("it resumes", await again.come_back(PASSWORD, snail))
    s.check("and has everything, once and in order", await again.until(lambda: len(again.came) >= 300) and again.in_order([("alice", n) for n in range(300)]))
    await leave(alice, again)


async def never_acknowledges(s):
    """A service that takes and never acknowledges; mona's stanzas are small, milan's nearly as large as may be."""
    clients = [await s.enter(name, MUTE, presence=False) for name in ("mona", "milan")]
    emma, alice = await s.enter("emma", ECHO), await s.enter("alice")
    for c, size in zip(clients, (100, 250000)):
        c.start_pressing(f"anybody@{MUTE}", range(20000), size)
    alice.say(alice.message(f"anybody@{MUTE}", 1))
    alice.sent += 1
    s.check("clients of a service that never acknowledges are held", await s.watches[0].until("ambrosia_streams_held", lambda n: n >= 2))
    s.check("what is held for them is 4 MiB each, and a stanza", await s.held("unacknowledged") <= 2 * (4 << 20) + 300000)
    s.check("clients of another service go on", await emma.talk(emma, 50, f"anybody@{ECHO}"))
    s.check("and the others are still there", await s.closes("service-stalled") == 0)
    s.check("after its time they are closed", await s.closed("service-stalled", 2))
    for c in clients:
        s.check(f"{c.name} hears why: resource-constraint", await c.until(lambda: c.over.is_set()) and c.error == "resource-constraint")
        s.check(f"nothing of {c.name}'s was acknowledged", c.acked == 0)
    s.check("what another domain had for it comes back: remote-server-timeout",
            await alice.until(lambda: alice.bounced) and alice.bounced == [("alice", 1, "remote-server-timeout")])
    await leave(emma, alice, *clients)


class Stuffed(fake.Server):
    """Reads until its stream stands."""

    async def step(self, wire):
        more = await super().step(wire)
        if self.heard and self.heard[-1] in ("result", "auth"):
            wire.writer.transport.pause_reading()
            self.stuck = asyncio.current_task(), asyncio.Event()   # held here: nobody else does
            await self.stuck[1].wait()
        return more


async def remote_never_reads(s):
    """Its correspondents' stanzas come back."""
    quick, before = s.servers["quick.example"], await s.closes("stalled")
    alice, bella = await s.enter("alice"), await s.enter("bella")
    alice.start_pressing("romeo@stuffed.example", range(2000), 4000)
    s.check("who writes to a remote server that never reads can write on", await alice.written())
    for n in range(50):
        bella.say(bella.message("romeo@quick.example", n))
        bella.sent += 1
        if (await asyncio.wait_for(quick.stanzas.get(), 20)).get("id") != f"bella-{n}":
            break
    s.check("stanzas to another remote server arrive meanwhile", n == 49)
    s.check("conversations go on, too", await bella.talk(bella, 20, f"bella@{OURS}/r"))
    s.check("after its time the stream is closed", await s.closed("stalled", before + 1))
    s.check("what it did not take comes back", await alice.until(lambda: sum(c == "remote-server-timeout" for _, _, c in alice.bounced) > 100))
    conditions = {c for _, _, c in alice.bounced}
    s.check(f"with remote-server-timeout, or resource-constraint for what there was no room for: {conditions}",
            "remote-server-timeout" in conditions and conditions <= {"remote-server-timeout", "resource-constraint"})
    alice.ask()
    s.check("and all that was sent is acknowledged", await alice.until(lambda: alice.acked == alice.sent))
    alice.say(alice.message("romeo@stuffed.example", 9999))
    s.check("for a while the next ones come back at once", await alice.until(lambda: alice.bounced[-1] == ("alice", 9999, "remote-server-timeout"), 5))
    await leave(alice, bella)


async def echo_floods(s):
    """Answers come back to who writes. With stream management the client's acknowledgements stand behind what it writes: the service must not wait for them."""
    ellen = await s.enter("ellen", ECHO)
    ellen.start_pressing(f"anybody@{ECHO}", range(3000), 2000)
    s.check("a flood by a client with stream management: each comes back, or an error in its place",
            await ellen.until(lambda: len(ellen.came) + len(ellen.bounced) >= 3000) and
            {n for _, n in ellen.came} | {n for _, n, c in ellen.bounced if c == "resource-constraint"} == set(range(3000)))
    s.check("in order", ellen.in_order(sorted(ellen.came)))
    ellen.ask()
    s.check("and all is acknowledged", await ellen.until(lambda: ellen.acked == ellen.sent))
    print(f"   {len(ellen.came)} echoes, {len(ellen.bounced)} errors", flush=True)
    await ellen.leave()
    emma = await s.enter("emma", ECHO, managed=False)
    emma.start_pressing(f"anybody@{ECHO}", range(3000), 2000)
    s.check("a flood of an echo service, read as it comes, comes back whole and in order", await emma.until(lambda: len(emma.came) == 3000) and
            emma.in_order([("emma", n) for n in range(3000)]))
    ellen = await s.enter("ellen", ECHO, managed=False)
    ellen.reading.clear()
    ellen.start_pressing(f"anybody@{ECHO}", range(100), 2000)
    s.check("who writes before it reads writes all", await ellen.written())
    ellen.reading.set()
    s.check("and has it all", await ellen.until(lambda: len(ellen.came) == 100) and ellen.in_order([("ellen", n) for n in range(100)]))
    await leave(emma, ellen)


async def echo_never_read(s):
    """More than all bounds, and its answers are read by nobody."""
    eric, emma = await s.enter("eric", ECHO), await s.enter("emma", ECHO)
    before = await s.closes("service-closed")
    eric.reading.clear()
    eric.start_pressing(f"anybody@{ECHO}", range(20000), 2000)
    s.check("others of the service go on", await emma.talk(emma, 50, f"anybody@{ECHO}"))
    s.check("who writes more than all bounds and reads nothing is closed", await s.closed("service-closed", before + 1))
    eric.reading.set()
    s.check("and hears why: resource-constraint", await eric.until(eric.over.is_set) and eric.error == "resource-constraint")
    s.check("what came back came in order", eric.in_order([("eric", n) for n in range(len(eric.came))]) and len(eric.came) > 0)
    s.check("others are still there", await emma.talk(emma, 5, f"anybody@{ECHO}"))
    await leave(emma)


async def pair_floods(s):
    """Both write all before they read."""
    alice, bella = await s.enter("alice"), await s.enter("bella")
    for c, other in ((alice, bella), (bella, alice)):
        c.reading.clear()
        c.start_pressing(f"{other.name}@{OURS}/r", range(900), 4000)
    s.check("two who flood each other and read nothing write all", all([await c.written() for c in (alice, bella)]))
    for c in (alice, bella):
        c.reading.set()
        c.ask()
    for c, other in ((alice, bella), (bella, alice)):
        s.check(f"{c.name} has it all, in order", await c.until(lambda: len(c.came) >= 900) and c.in_order([(other.name, n) for n in range(900)]))
        s.check(f"and {c.name}'s is acknowledged", await c.until(lambda: c.acked == c.sent))
    await leave(alice, bella)


async def begun(s, client, size):
    """A message of so many bytes to the echo service, without its end, which is returned."""
    client.say(f"<message to='anybody@{ECHO}' type='chat' id='{client.name}-1'><body>" + "x" * size)
    await client.writer.drain()
    return "</body></message>"


async def halves(s):
    """A hundred who send half of a large stanza and stop, at a gateway that may hold some ten of those: who goes on comes to its end."""
    emma, ellen = await s.enter("emma", ECHO), await s.enter("ellen", ECHO, managed=False)
    end = await begun(s, ellen, 50000)
    crowd = []
    for n in range(100):
        crowd.append(await s.enter("eric", ECHO, managed=False, resource=f"r{n}"))
        await begun(s, crowd[-1], 100000)
        if n % 2 == 0:       # a step of 16 KiB for every eight that come, of whom the gateway holds some fifteen
            ellen.say("y" * 4096)
    s.check("of a hundred halves of large stanzas most are closed", await s.closed("unfinished", 80))
    s.check("what is held of the others is half of what may be", 0 < await s.held("unfinished") <= HELD / 2)
    s.check("who is closed hears why: resource-constraint", await crowd[0].until(crowd[0].over.is_set) and crowd[0].error == "resource-constraint")
    s.check("others of the service go on", await emma.talk(emma, 50, f"anybody@{ECHO}"))
    ellen.say(end)
    s.check("who was slow but went on comes to the end of its large stanza", await ellen.until(lambda: ellen.came == [("ellen", 1)]))
    crowd[-1].say("</body></message>")
    s.check("and so does who came last", await crowd[-1].until(lambda: crowd[-1].came == [("eric", 1)]))
    await leave(emma, ellen)
    for c in crowd:
        c.close()
    s.check("when they have gone, nothing is held", await s.watches[0].until('ambrosia_held_bytes{what="unfinished"}', lambda n: n == 0))


async def crowd_of_the_mute(s):
    """Each says more than it may to the service that never acknowledges, one after the other, until nothing is left; the last ones find no room for their first word."""
    crowd, late = [], 0
    while late < 8:
        late += await s.held("unacknowledged") >= HELD
        crowd.append(await s.enter("mona", MUTE, managed=len(crowd) % 2 == 0, resource=f"r{len(crowd)}", presence=False))
        crowd[-1].start_pressing(f"anybody@{MUTE}", range(5), 150000)
        if not await s.watches[0].until("ambrosia_streams_held", lambda n: n >= len(crowd)):
            break
    s.check("all of them can turn stream management on", all(c.id is not None for c in crowd[::2]))
    s.check("a service that never acknowledges takes all that may be held: its clients are held one by one, those too that came when nothing was left", late == 8)
    return crowd


async def no_room(s):
    """Whoever has a word for another service meanwhile waits, is not closed, and is heard when there is room. A read beside it, and what needs no room, is answered at once."""
    emma, ellen, eric = await s.enter("emma", ECHO), await s.enter("ellen", ECHO, managed=False), await s.enter("eric", ECHO)
    alice = await s.enter("alice")
    caller = await fake.Dialler(CALLER, OURS).open(s.s2s, s.caller)
    s.check("another server is known by its certificate", await caller.external() is None)
    crowd = await crowd_of_the_mute(s)
    for c in (emma, ellen):
        for n in range(3):
            c.say(c.message(f"anybody@{ECHO}", n))
            c.sent += 1
    for n in range(3):
        caller.wire.send(f"<message from='romeo@{CALLER}' to='alice@{OURS}/r' type='chat' id='romeo-{n}'><body>romeo {n}</body></message>")
    s.check("who was idle and has a word for another service is held as well, and so is another server",
            await s.watches[0].until("ambrosia_streams_held", lambda n: n == len(crowd) + 3))
    eric.acked = None
    eric.ask()
    s.check("an <r/> needs no room: it is answered", await eric.until(lambda: eric.acked == eric.sent, 20))
    s.check("nobody is closed, nothing came through", not any(c.over.is_set() for c in (emma, ellen, eric, alice, *crowd)) and emma.came == ellen.came == alice.came == [])
    s.check("the service that hangs ends", s.test.stop("silent") == 0)
    for c in (emma, ellen):
        s.check(f"{c.name} is heard when there is room, and answered, in order", await c.until(lambda: len(c.came) >= 3) and c.in_order([(c.name, n) for n in range(3)]))
    s.check("what the other server had said arrives, in order", await alice.until(lambda: len(alice.came) >= 3) and alice.in_order([("romeo", n) for n in range(3)]))
    emma.ask()
    s.check("all is acknowledged", await emma.until(lambda: emma.acked == emma.sent))
    s.check("they go on", await emma.talk(emma, 5, f"anybody@{ECHO}") and await ellen.talk(ellen, 5, f"anybody@{ECHO}"))
    s.check("its own clients were not closed before it was gone", all([await c.until(c.over.is_set) and c.error == "system-shutdown" for c in crowd]))
    s.check("for want of room nobody was closed", not any([await s.closes(why) for why in ("internal-error", "resource-constraint", "service-stalled")]))
    s.check("when they have gone, nothing is held", await s.watches[0].until('ambrosia_held_bytes{what="unfinished"}', lambda n: n == 0))
    caller.close()
    await leave(emma, ellen, eric, alice)


async def drips(s):
    """A byte now and then is no progress."""
    emma, ellen, before = await s.enter("emma", ECHO), await s.enter("ellen", ECHO), await s.closes("stanza-timeout")
    await begun(s, ellen, 10)
    while not ellen.over.is_set():
        ellen.say("x")
        if not await emma.talk(emma, 1, f"anybody@{ECHO}"):
            break
        await asyncio.sleep(0.05)
    s.check("who sends a byte of a stanza now and then is closed after its time", ellen.over.is_set() and await s.closes("stanza-timeout") == before + 1)
    s.check("and hears why: connection-timeout", ellen.error == "connection-timeout")
    await leave(emma)


async def start_servers(pki):
    """The fake servers by domain."""
    made = {"quick.example": fake.Server("quick.example", pki.context(True, "quick.example"), fake.EXTERNAL)}
    made["stuffed.example"] = Stuffed("stuffed.example", pki.context(True, "stuffed.example"), fake.EXTERNAL)
    for server in made.values():
        await server.start(THEIR_ADDRESS)
    return made


# By --stall-timeout and --held-max: those who wait for the one, those who must not meet it, however slow the machine is, and those who meet the other.
HELD = 4 << 20
SCENES = {(8, 256 << 20): (never_reads, never_answers, never_acknowledges, remote_never_reads, drips), (600, 256 << 20): (echo_floods, echo_never_read, pair_floods),
          (600, HELD): (halves, no_room)}


async def story(s, scenes):
    before = s.weigh()
    for scene in scenes:
        if not sys.argv[1:] or scene.__name__ in sys.argv[1:]:
            await scene(s)
            grown = [(b - a) >> 20 for a, b in zip(before, s.weigh())]
            s.check(f"{scene.__name__}: gateway and IM service have grown by {grown} MiB, of 64 at most", max(grown) < 64)


def prepare(test):
    """Accounts, certificates, servers and their DNS: the environment, the servers by domain, and the TLS of one that dials us."""
    env, _ = accounts(test, OURS, ())
    for domain, users in USERS.items():
        for user in users:
            account(test, env, user, domain, PASSWORD)
    pki = fake.Pki(test.folder)
    servers = asyncio.get_event_loop().run_until_complete(start_servers(pki))
    peers.start_dns(test, [peers.host("fake.example", THEIR_ADDRESS), *(peers.srv(domain, "fake.example", server.port) for domain, server in servers.items())])
    env = dict(env, SSL_CERT_FILE=f"{test.folder}/our-ca.pem", SSL_CERT_DIR=f"{test.folder}/none", ASAN_OPTIONS="quarantine_size_mb=4")
    for domain in (ECHO, MUTE):
        fake.certificate(test.folder, "our-ca", domain, f"{test.folder}/our-certs")
    return env, servers, pki.context(False, CALLER)


def start(test, env, servers, caller, stall, held):
    state = f"{test.folder}/state-{stall}-{held}"
    gateway = test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "none", "--c2s-direct", f"{OUR_ADDRESS}:0", "--s2s", f"{OUR_ADDRESS}:0", "--svc",
                                     "tcp://127.0.0.1:0", "--registry-bind", "tcp://127.0.0.1:0", "--public-host", OURS, "--certs", f"{test.folder}/our-certs",
                                     "--workers", "1", "--stall-timeout", str(stall), "--held-max", str(held)], env)
    ports = ready(gateway)
    im = test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", OURS, "--state-dir", state], env)
    ready(im)
    ready(test.start("echo", [f"{BUILD}/services/echo/ambrosia-echo", "--domain", ECHO, "--state-dir", state], env))
    ready(test.start("silent", [f"{BUILD}/tests/live/silent", state, MUTE], env))
    return Scene(test, servers, caller, f"{test.folder}/our-ca.pem", ports, [Watch(f"127.0.0.1:{ports['http']}", gateway), Watch("", im)])


def main():
    if unknown := set(sys.argv[1:]) - {scene.__name__ for scenes in SCENES.values() for scene in scenes}:
        sys.exit(f"live.pressure: no such scene: {' '.join(sorted(unknown))}")
    namespace.enter()
    test = Test("live.pressure")
    env, servers, caller = prepare(test)
    for limits, scenes in SCENES.items():
        run(test, story(start(test, env, servers, caller, *limits), scenes), 300)
        for name in ("silent", "echo", "im", "gateway"):
            if name in test.programs:
                test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
