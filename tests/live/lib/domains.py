"""Hundreds of remote domains at once, a part of them broken in one way or another: their servers, the DNS that tells of them, and the service that writes to all of them
(tests/bench/domains). What tests/live/domains.py checks in small and tests/bench/run_domains measures in large. Each kind of server is a process of its own, so that
the one that floods takes nothing from those that are well but its share of the machine. For a namespace of its own."""
import asyncio
import functools
import json
import multiprocessing
import os
import resource
import socket
import subprocess

import fake
import namespace
import peers
from peers import OUR_ADDRESS, OURS, THEIR_ADDRESS
from stack import BUILD, certificate, ready

MUTE_DNS = "127.0.0.9"
# Each kind of broken server: how a message to it comes back.
BROKEN = {
    "mute-dns": "wait remote-server-timeout",          # the DNS never answers
    "refused-port": "wait remote-server-timeout",      # nobody listens
    "silent": "wait remote-server-timeout",            # accepts and never speaks
    "stalls": "wait remote-server-timeout",            # stalls in TLS
    "giant": "wait remote-server-timeout",             # sends a stream header without end
    "closes": "wait remote-server-timeout",            # closes at once
    "other-name": "cancel remote-server-timeout",      # its certificate is another's
    "floods": "wait remote-server-timeout",            # line ends without end instead of features
    "blanks": "wait remote-server-timeout",            # spaces without end instead of features, behind TLS
    "denies": "cancel internal-server-error",          # says that our dialback key is not ours
    "no-service": "cancel remote-server-not-found",    # SRV says "."
}
SERVERS = ("silent", "stalls", "giant", "closes", "other-name", "floods", "blanks", "denies")


def broken_names(nr):
    """Domains of each kind in turn: {domain: kind}."""
    kinds = list(BROKEN)
    return {f"{kinds[i % len(kinds)]}-{i // len(kinds)}.example": kinds[i % len(kinds)] for i in range(nr)}


class Server(fake.Server):
    async def serve(self, reader, writer):
        try:
            await super().serve(reader, writer)
        except RuntimeError:   # who only looked whether somebody listens
            writer.close()


class Sink(Server):
    """Takes every dialback key, then counts messages, and no more."""
    nr_messages = nr_noise_bytes = 0

    async def step(self, wire):
        more = await super().step(wire)
        if more and self.heard[-1] == "result":
            await self.count(wire)
            return False
        return more

    async def count(self, wire):
        tail = b""
        while True:
            data = await wire.reader.read(65536)
            text = tail + data
            Sink.nr_messages += text.count(b"</message>")
            tail = text[-9:] if data else b""
            if not data or b"</stream:stream>" in text:
                wire.send("</stream:stream>")
                return


class Noisy(Sink):
    """Pours line ends meanwhile, as fast as they are read."""

    async def count(self, wire):
        noise = asyncio.ensure_future(self.make_noise(wire))
        await super().count(wire)
        noise.cancel()

    async def make_noise(self, wire):
        async for nr in pouring(wire, "\n" * 16384):
            Sink.nr_noise_bytes += nr


async def says_nothing(wire):
    await wire.reader.read()


async def closes(wire):
    wire.writer.transport.abort()


async def stalls(wire):
    wire.send(fake.HEADER.format("stalls.example", OURS, "1") + fake.STARTTLS)
    await wire.expect("open")
    await wire.expect("element")
    wire.send(f"<proceed xmlns='{fake.NS_TLS}'/>")
    await wire.reader.read()


async def pouring(wire, more):
    """Tells how much was taken, each time."""
    try:
        while not wire.writer.transport.is_closing():
            wire.send(more)
            await wire.writer.drain()
            yield len(more)
            await asyncio.sleep(0)
    except ConnectionError:
        pass


async def pours(wire, begin, more):
    wire.send(begin)
    async for _ in pouring(wire, more):
        pass


async def giant(wire):
    await pours(wire, "<?xml version='1.0'?><stream:stream", " " * 4096)


async def floods(wire):
    await pours(wire, fake.HEADER.format("floods.example", OURS, "1"), "\n" * 16384)


async def blanks(wire, context):
    wire.send(fake.HEADER.format("blanks.example", OURS, "1") + fake.STARTTLS)
    await wire.expect("open")
    await wire.expect("element")
    wire.send(f"<proceed xmlns='{fake.NS_TLS}'/>")
    await wire.secure(context)
    await wire.expect("open")
    await pours(wire, fake.HEADER.format("blanks.example", OURS, "2"), " " * 16384)


async def denied(_attributes, _key):
    return "invalid"


BEFORE = {"silent": says_nothing, "stalls": stalls, "giant": giant, "closes": closes, "floods": floods}
WELL = {"well": Sink, "noisy": Noisy}


def serve(kind, context, port, counts):
    """A process: the server of all domains of its kind. counts: connections, messages, bytes of noise."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    server = WELL.get(kind, Server)(f"{kind}.example", context, before=BEFORE.get(kind))
    if kind == "blanks":
        server.before = functools.partial(blanks, context=context)
    if kind == "denies":
        server.answer_result = denied

    async def forever():
        await server.start(THEIR_ADDRESS, port)
        while True:
            counts[0], counts[1], counts[2] = server.nr_connections, Sink.nr_messages, Sink.nr_noise_bytes
            await asyncio.sleep(0.01)
    loop.run_until_complete(forever())


class World:
    """The servers of nr_well domains that are well, nr_noisy of them pouring line ends into the streams that we make to them, and nr_broken that are not well, and the DNS.
    The gateway and the service come and go."""

    def __init__(self, test, nr_well, nr_broken, nr_noisy=0):
        self.test, self.folder = test, test.folder
        self.well = [f"{'noisy' if i < nr_noisy else 'well'}-{i}.example" for i in range(nr_well)]
        self.broken = broken_names(nr_broken)
        pki = fake.Pki(self.folder)
        contexts = {kind: pki.context(True, f"{kind}.example", "stranger-ca") for kind in (*WELL, "blanks", "denies")}
        contexts["other-name"] = pki.context(True, "elsewhere.example")
        ports = {kind: 6000 + i for i, kind in enumerate((*WELL, "refused-port", *SERVERS))}
        fork = multiprocessing.get_context("fork")
        self.counts, self.processes = {}, []
        for kind in (*WELL, *SERVERS):
            self.counts[kind] = fork.Array("L", 3, lock=False)
            self.processes.append(fork.Process(target=serve, args=(kind, contexts.get(kind), ports[kind], self.counts[kind]), daemon=True))
            self.processes[-1].start()
            namespace.listens(THEIR_ADDRESS, ports[kind])
        self.mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.mute.bind((MUTE_DNS, 53))
        records = [peers.host("fake.example", THEIR_ADDRESS)]
        for domain, kind in [(domain, domain.partition("-")[0]) for domain in self.well] + list(self.broken.items()):
            if kind == "mute-dns":
                records.append(f"--server=/{domain}/{MUTE_DNS}")
            elif kind == "no-service":
                records.append(f"--srv-host=_xmpp-server._tcp.{domain}")
            else:
                records.append(peers.srv(domain, "fake.example", ports[kind]))
        peers.start_dns(test, ["--dns-forward-max=10000", *records])

    def start(self, env, *flags):
        env = dict(env, SSL_CERT_FILE=f"{self.folder}/our-ca.pem", SSL_CERT_DIR=f"{self.folder}/none")
        gateway = self.test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", f"{self.folder}/state", "--workers", "1", "--c2s", "none",
                                              "--c2s-direct", "none", "--s2s", f"{OUR_ADDRESS}:5269", "--public-host", OURS, "--certs", f"{self.folder}/our-certs", *flags], env)
        ready(gateway)
        self.gateway = gateway.pid
        self.service = self.test.start("bench_domains", [f"{BUILD}/tests/bench/bench_domains", f"{self.folder}/state", OURS], stdin=subprocess.PIPE)
        self.answer()

    def stop(self):
        """Exit status of the service and of the gateway."""
        self.service.stdin.close()
        status = self.service.wait(60)
        self.test.programs.pop("bench_domains")
        return status, self.test.stop("gateway")

    def end(self):
        for process in self.processes:
            process.kill()
            process.join()
        self.mute.close()

    def answer(self):
        line = self.service.stdout.readline()
        if not line:
            raise RuntimeError("the service ended")
        return json.loads(line)

    def ask(self, command, *words):
        self.service.stdin.write(" ".join([command, *map(str, words)]).encode() + b"\n")
        self.service.stdin.flush()
        return self.answer()

    def send(self, nr):
        """To each domain that is well; until all have come to an end."""
        before = self.cpu_seconds()
        found = self.ask("send", nr, *self.well)
        return found | {"cpu_seconds": self.cpu_seconds() - before}

    def trickle(self, ms):
        return self.ask("trickle", ms, *self.broken)

    def outcomes(self):
        """{kind: {how it ended: number}}"""
        found = {}
        for key, nr in self.ask("outcomes").items():
            domain, how = key.split(" ", 1)
            kind = found.setdefault(self.broken[domain], {})
            kind[how] = kind.get(how, 0) + nr
        return found

    def connections(self, kind):
        return self.counts[kind][0]

    def messages(self):
        return sum(self.counts[kind][1] for kind in WELL)

    def noise_bytes(self):
        return self.counts["noisy"][2]

    def cpu_seconds(self):
        with open(f"/proc/{self.gateway}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.gateway}/fd"))

    def pss_kib(self):
        with open(f"/proc/{self.gateway}/smaps_rollup") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
