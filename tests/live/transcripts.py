#!/usr/bin/env python3
"""The transcripts of tests/script that need no owner's acts, against a live gateway: what it says, how it ends the connection, and what its log gives as the reason. Each
is played whole and byte by byte, over TCP and TLS, with a login and a bind that are real."""
import concurrent.futures
import glob
import os
import re
import socket
import ssl
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from stack import BUILD, Test, accounts, authority, certificate, ready  # noqa: E402

SCRIPTS = os.path.join(HERE, "..", "script")
DOMAINS = ("example.com", "example.net")
PARTS = ("c2s-tls", "c2s-login", "c2s-bind")    # what the owner does in these, the gateway does by itself
# Its smuggled bytes must come with <starttls/>: later ones are no TLS, and break the handshake.
WHOLE = "c2s-starttls-rest-dropped"
EVENTS = ("start-tls", "peer-named", "established", "closed")
SECONDS = 30


def steps_of(path, part=False):
    """[(verb, text)] of a file and the parts it uses; None if it needs an owner whom a live gateway has not."""
    steps = []
    for line in open(path):
        line = line.rstrip("\n")
        if not line.strip() or line.startswith("#"):
            continue
        verb, _, text = line.partition(" ")
        if line.startswith(" "):
            verb, before = steps.pop()
            steps.append((verb, before + ("\\n" if verb.startswith("C") else "") + text))
        elif verb == "use":
            more = steps_of(f"{SCRIPTS}/{text}.part", True) if text in PARTS else None
            if more is None:
                return None
            steps += more
        elif verb == ">" and (part or text.split()[0] in EVENTS) or verb in ("role", "hosts", "mechanisms", "S:", "silent", "tls") or re.match(r"C[:*]", verb):
            steps.append((verb, text))
        elif not part or verb not in ("auth", "bind"):
            return None
    return steps


def playable(steps):
    """Ours offers PLAIN, and does so once there is TLS."""
    heads = dict(reversed(steps or []))
    return steps is not None and (heads.get("mechanisms") == "PLAIN" or (heads["role"] == "c2s" and "tls" not in heads))


def unescape(text):
    names = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "\\": "\\"}
    out = re.sub(r"\\(x[0-9A-Fa-f]{2}|.)", lambda m: chr(int(m[1][1:], 16)) if len(m[1]) == 3 else names[m[1]], text.encode().decode("latin-1"))
    return out.encode("latin-1")


def pattern(text):
    found = re.escape(unescape(text).decode("latin-1")).replace(re.escape("..."), ".*?").replace(re.escape("$ID"), "[0-9a-f]{32}")
    found = found.replace("</mechanisms>", "</mechanisms>(?:<sasl-channel-binding .*?</sasl-channel-binding>)?")  # TLS that is real has some
    return re.compile(found.encode("latin-1"), re.S)


class Unexpected(Exception):
    pass


class Player:
    """A client that knows its lines."""

    def __init__(self, stage, address, byte_by_byte):
        self.stage, self.address, self.byte_by_byte, self.got, self.over = stage, address, byte_by_byte, b"", False
        self.name = None

    def open(self, direct):
        self.wire = socket.create_connection(("127.0.0.1", self.stage.direct if direct else self.stage.starttls), SECONDS, (self.address, 0))
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.name = self.wire.getsockname()
        if direct:
            self.tls()

    def tls(self):
        if self.got:
            raise Unexpected(f"before TLS: {self.got!r}")
        self.wire = self.stage.context.wrap_socket(self.wire, server_hostname=DOMAINS[0])

    def say(self, data):
        try:
            for piece in (data[i:i + 1] for i in range(len(data))) if self.byte_by_byte and len(data) < 4096 else [data]:
                self.wire.sendall(piece)
        except OSError:
            pass  # the other end has gone; what it said tells more

    def hear_more(self):
        try:
            more = b"" if self.over else self.wire.recv(65536)
        except ConnectionError:
            more = b""
        self.over = not more
        self.got += more
        return more

    def hear(self, text):
        while not (found := pattern(text).match(self.got)):
            if not self.hear_more():
                raise Unexpected(f"not {text!r}, but {self.got!r}")
        self.got = self.got[found.end():]

    def end(self, wanted=b""):
        """The other end says no more than that, and closes."""
        while self.hear_more():
            pass
        if self.got != wanted:
            raise Unexpected(f"at the end: {self.got!r}")
        self.wire.close()

    def play(self, steps):
        """The reason that the transcript ends with, or None."""
        self.open("direct" in dict(steps)["role"])
        reason = None
        for verb, text in steps:
            if verb.startswith("C"):
                self.say(unescape(text) * int(verb[2:-1] or 1 if verb[1] == "*" else 1))
            elif verb == "S:":
                self.hear(text)
            elif verb == "tls":
                self.tls()
            elif verb == "silent" and self.got:
                raise Unexpected(f"not silent: {self.got!r}")
            elif verb == ">" and text.startswith("closed"):
                reason = text.split()[1]
        if reason is None:
            self.say(b"</stream:stream>")
        self.end(b"</stream:stream>" if reason is None else b"")
        return reason


class Stage:
    def __init__(self, test):
        self.test = test
        env, _ = accounts(test, DOMAINS[0], (), "PLAIN", {"alice": "secret"})
        authority(test.folder, "ca")
        for domain in DOMAINS:
            certificate(test.folder, "ca", domain, f"{test.folder}/certs")
        self.context = ssl.create_default_context(cafile=f"{test.folder}/ca.pem")
        state = f"{test.folder}/state"
        ports = ready(test.start("gateway", [
            f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "127.0.0.1:0", "--c2s-direct", "127.0.0.1:0", "--s2s", "none", "--svc",
            "tcp://127.0.0.1:0", "--registry-bind", "tcp://127.0.0.1:0", "--public-host", DOMAINS[0], "--certs", f"{test.folder}/certs"], env))
        self.starttls, self.direct = int(ports["c2s"]), int(ports["c2s-direct"])
        # The echo service says nothing that it was not asked.
        ready(test.start("echo", [f"{BUILD}/services/echo/ambrosia-echo", "--domain", DOMAINS[0], "--domain", DOMAINS[1], "--state-dir", state]))

    def reasons(self):
        """{(the peer's address, port): why its stream ended}, from the log."""
        log = open(f"{self.test.folder}/gateway.log", errors="replace").read()
        peers = {who: (address, int(port)) for who, address, port in re.findall(r" (w\d+ c2s \S+) accept address=(\S+) port=(\d+)", log)}
        return {peers[who]: why for who, why in re.findall(r" (w\d+ c2s \S+) close reason=(\S+)", log)}


def play(stage, number, name, steps, byte_by_byte):
    # An address may fail only so often: each of these has one of its own.
    player = Player(stage, f"127.0.{1 + byte_by_byte}.{number}", byte_by_byte)
    try:
        return name, player, player.play(steps), ""
    except (Unexpected, OSError) as e:
        return name, player, None, f"{type(e).__name__}: {e}"


def main():
    test = Test("live.transcripts")
    stage = Stage(test)
    found = {os.path.basename(path)[:-len(".script")]: steps_of(path) for path in sorted(glob.glob(f"{SCRIPTS}/c2s-*.script"))}
    mine = {name: steps for name, steps in found.items() if playable(steps)}
    test.check(f"of {len(found)} transcripts of clients {len(mine)} are played", len(mine) >= 40)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(play, stage, i + 1, name, steps, by_byte) for by_byte in (False, True) for i, (name, steps) in enumerate(mine.items()) if not by_byte or name != WHOLE]
        ends = [job.result() for job in jobs]
    test.check("the service ends with status 0 at SIGTERM", test.stop("echo") == 0)
    test.check("the gateway ends with status 0 at SIGTERM", test.stop("gateway") == 0)
    reasons = stage.reasons()
    for name, player, reason, trouble in ends:
        wanted, given = reason or "peer-closed", reasons.get(player.name)
        test.check(f"{name}{', byte by byte' if player.byte_by_byte else ''}: {trouble or wanted}", not trouble and given == wanted)
        if not trouble and given != wanted:
            print(f"   its log says {given}", flush=True)
    test.finish()


main()
