"""What the plays share: the stack, the clients, and the way in which a play goes step by step."""
import os
import subprocess
import sys

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.append(os.path.join(FOLDER, "..", "live", "lib"))
import npm  # noqa: E402
from peer import Peer  # noqa: E402
from stack import BUILD, accounts, authority, certificate, ready  # noqa: E402

DOMAIN = "interop.example"


class Stopped(Exception):
    """A step failed: those that follow would only fail too."""


class Stage:
    """The running stack with these users, and how each kind of client is started against it."""

    def __init__(self, test, users):
        self.test = test
        for ca in ("ca", "other-ca"):
            authority(test.folder, ca)
        certificate(test.folder, "ca", DOMAIN, f"{test.folder}/certs")
        self.commands = {
            "slixmpp": [sys.executable, f"{FOLDER}/drivers/slix.py"],
            "xmppjs": ["node", f"{FOLDER}/drivers/xmppjs.mjs"],
            "strophe": [f"{test.folder}/strophe"],
        }
        self.prepare()
        env, self.passwords = accounts(test, DOMAIN, users)
        gateway = ["--state-dir", f"{test.folder}/state", "--certs", f"{test.folder}/certs", "--c2s", "127.0.0.1:0", "--c2s-direct", "none",
                   "--s2s", "127.0.0.1:0", "--svc", "tcp://127.0.0.1:0", "--registry-bind", "tcp://127.0.0.1:0", "--public-host", DOMAIN]
        self.port = ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", *gateway], env))["c2s"].rpartition(":")[2]
        # A client that vanishes is not gone before it could have resumed: here, soon.
        ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", DOMAIN, "--state-dir", f"{test.folder}/state", "--resumption", "3"]))

    def prepare(self):
        """What no Debian package holds as a program: @xmpp/client by the lock file, and libstrophe's driver compiled."""
        with open(f"{self.test.folder}/prepare.log", "ab") as log:
            npm.install(log)
            flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libstrophe"], check=True, stdout=subprocess.PIPE)
            subprocess.run(["cc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-O1", "-o", f"{self.test.folder}/strophe",
                            f"{FOLDER}/drivers/strophe.c", *flags.stdout.decode().split()], check=True, stdout=log, stderr=log)

    async def client(self, kind, user, mechanism, ca="ca", password=None):
        peer = Peer(f"{user} ({kind})")
        await peer.start(self.commands[kind], f"{self.test.folder}/{ca}.pem", f"{self.test.folder}/{kind}.log")
        peer.tell("login", f"{user}@{DOMAIN}", password or self.passwords[user], "127.0.0.1", self.port, mechanism)
        return peer

    async def step(self, play, what, *expected):
        """One check: each (peer, field…) of expected is seen."""
        ok = all([await peer.expect(*fields) for peer, *fields in expected])
        self.test.check(f"{play}: {what}", ok)
        if not ok:
            raise Stopped(play)

    def mechanism(self, jid):
        """By which mechanism this full JID logged in, in the service's words."""
        with open(f"{self.test.folder}/im.log") as log:
            lines = [line.split() for line in log if f" jid={jid} " in line]
        return next((word[len("mechanism="):] for line in reversed(lines) for word in line if word.startswith("mechanism=")), None)

    def failed_logins(self):
        with open(f"{self.test.folder}/gateway.log") as log:
            return sum(" auth-failed " in line and " condition=not-authorized" in line for line in log)

    def end(self):
        self.test.check("the service ends with status 0 at SIGTERM", self.test.stop("im") == 0)
        self.test.check("the gateway ends with status 0 at SIGTERM", self.test.stop("gateway") == 0)
        self.test.finish()
