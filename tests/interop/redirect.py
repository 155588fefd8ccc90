#!/usr/bin/env python3
"""see-other-host (RFC 6120 section 4.9.3.19): clients dial gateway A and end in a session behind gateway B. profanity follows by itself throughout a
login, also in the middle of SASL; @xmpp/client after authentication, also when a gateway drains (docs/DECISIONS.md). slixmpp forgets the
port: where a -PLUS mechanism is wanted, it reports where to go, and this test goes."""
import asyncio
import os
import shutil
import subprocess
import sys
import types
from datetime import datetime

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "..", "live", "lib")]
import npm  # noqa: E402
from peer import Peer  # noqa: E402
from stack import BUILD, Client, Test, accounts, authority, certificate, curve_key, openssl, ready, replace_file, run, word_in  # noqa: E402
from terminals import Terminals  # noqa: E402

DOMAIN = "moved.example"
ASKED = "asked.example"


def gateway(test, name, users, passwords=None):
    """A gateway with a user database and a registry of its own: (address for clients, state folder, passwords)."""
    folder = f"{test.folder}/{name}"
    os.mkdir(folder)
    env, passwords = accounts(types.SimpleNamespace(folder=folder), DOMAIN, users, passwords=passwords)
    process = test.start(name, [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", f"{folder}/state", "--c2s", "127.0.0.1:0",
                                "--c2s-direct", "none", "--s2s", "none", "--svc", "tcp://127.0.0.1:0", "--registry-bind",
                                "tcp://127.0.0.1:0", "--public-host", "localhost", "--certs", f"{test.folder}/certs"], env)
    return "127.0.0.1:" + ready(process)["c2s"].rpartition(":")[2], f"{folder}/state", passwords


async def arrives(test, user, password, address, mechanism="SCRAM-SHA-1"):
    """What the client tells in the end: ("online", full JID), ("refused", why)."""
    peer = Peer(user)
    await peer.start(["node", f"{HERE}/drivers/xmppjs.mjs"], f"{test.folder}/ca.pem", f"{test.folder}/client.log")
    host, _, port = address.rpartition(":")
    peer.tell("login", f"{user}@{DOMAIN}", password, host, port, mechanism)
    tasks = [asyncio.ensure_future(peer.expect(word)) for word in ("online", "refused")]
    done, _ = await asyncio.wait(tasks, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    await peer.stop()
    for task in tasks:
        task.cancel()
    return done.pop().result() if done else ("nothing", "")


class Follower(Client):
    """slixmpp, which settles with the host of a see-other-host when it gets one."""

    def __init__(self, *args):
        super().__init__(*args)
        self.add_event_handler("stream_error", self.on_error)

    def on_error(self, e):
        if e["condition"] == "see-other-host":
            self.settle(e["see_other_host"])

    def reconnect(self, *_, **__):
        """Not by itself: see above."""


async def follows(test, user, password, address, mechanism):
    """Logs in where it is sent: (how it ended, full JID, host that it ended at)."""
    ca, host = f"{test.folder}/ca.pem", address
    for _ in range(3):
        client = Follower(f"{user}@{DOMAIN}", password, ca, mechanism)
        client.connect((host.rpartition(":")[0], int(host.rpartition(":")[2])), force_starttls=True, disable_starttls=False)
        how = await asyncio.wait_for(client.outcome, 30)
        jid = client.boundjid.full
        client.disconnect()
        if how in ("in", "failed"):
            return how, jid, host
        host = how
    return "round and round", "", host


def lines_of(test, name, *words):
    with open(f"{test.folder}/{name}.log") as log:
        return sum(all(word in line for word in words) for line in log)


def trust(terminals, ca):
    """The authority whose certificates profanity believes: the only one of this test."""
    folder = f"{terminals.home}/{ca}"
    os.mkdir(folder)
    shutil.copy(f"{terminals.test.folder}/{ca}.pem", folder)
    openssl("rehash", folder)
    terminals.keep(".config/profanity/profrc", ["[connection]", f"tls.certpath={folder}"])


def by_itself(test, a, b, passwords):
    """profanity, typed at: both users dial gateway A, and talk behind gateway B."""
    terminals, (host, _, port) = Terminals(test), a.rpartition(":")
    users = {"bob": "SASL does not know bob, the service does", "alice": "the service refuses alice's session with a host"}

    def connect(user, name):
        terminals.open(name, "profanity")
        terminals.shows(name, "Profanity. Type /help")
        terminals.type(name, f"/connect {user}")
        terminals.shows(name, "Enter password")
        terminals.type(name, passwords[user])

    # It goes where it is sent only with an account of its own, not after a bare /connect JID.
    terminals.keep(".local/share/profanity/accounts", [line for user in users for line in (
        f"[{user}]", "enabled=true", f"jid={user}@{DOMAIN}", f"server={host}", f"port={port}", "tls.policy=force", "resource=typed")])
    try:
        trust(terminals, "other-ca")
        connect("bob", "stranger")
        test.check("profanity: an unknown authority's certificate is not believed", terminals.shows("stranger", "TLS certificate verification failed"))
        terminals.type("stranger", "/tls deny")
        test.check("... and nobody is sent anywhere", terminals.shows("stranger", "Login failed") and lines_of(test, "a", "c2s", "redirect") == 0)
        trust(terminals, "ca")
        for user, why in users.items():
            connect(user, user)
            test.check(f"profanity: {why}: the session is behind gateway B", terminals.shows(user, f"{user}@{DOMAIN}/", "logged in successfully", "[TLS]")
                       and lines_of(test, "im", f" jid={user}@{DOMAIN}/typed ") == 1)
        test.check("gateway A sent both away, to gateway B", lines_of(test, "a", "c2s", "redirect", f"host={b}") == 2)
        terminals.type("alice", f"/msg bob@{DOMAIN} are you here too?")
        test.check("a message arrives there", terminals.shows("bob", f"chat message: alice@{DOMAIN}"))
        terminals.type("bob", "/win 2")
        terminals.shows("bob", "are you here too?")
        terminals.type("bob", "as you see")
        test.check("... and is answered", terminals.shows("alice", "as you see"))
    finally:
        terminals.close()


async def story(test, a, b, passwords_a, passwords_b):
    event = await arrives(test, "alice", passwords_b["alice"], a)
    test.check("the service refuses a session with a host: alice's is behind gateway B",
               event[0] == "online" and lines_of(test, "im", f" jid={event[1]} ") == 1)
    for mechanism in ("SCRAM-SHA-256-PLUS", "PLAIN"):
        how, jid, host = await follows(test, "bob", passwords_b["bob"], a, mechanism)
        test.check(f"SASL does not know bob, the service does ({mechanism}): his is behind gateway B",
                   how == "in" and host == b and lines_of(test, "im", f" jid={jid} ") == 1)
    event = await arrives(test, "nobody", "anything", a)
    test.check("somebody whom nobody knows fails as ever", event[0] == "refused" and "not-authorized" in event[1])
    event = await arrives(test, "alice", "not " + passwords_a["alice"], a)
    test.check("a wrong password fails where it is", event[0] == "refused" and "not-authorized" in event[1])
    test.check("gateway A sent five clients away", lines_of(test, "a", "c2s", "redirect", "host=") == 5)


def told(mover, line):
    """Gives the mover a line; what it printed until it was done with it."""
    mover.stdin.write(line.encode() + b"\n")
    mover.stdin.flush()
    said = []
    while not said or said[-1] != "done":
        said.append(mover.stdout.readline().decode().rstrip("\n"))
    return said[:-1]


async def listed(mover, *wanted):
    """Waits until these redirects and no others are known to the mover: what a registry has taken comes back a moment later."""
    for _ in range(100):
        if told(mover, "list") == list(wanted):
            return True
        await asyncio.sleep(0.05)
    return False


async def set_by_a_service(test, mover, a, b, passwords_a):
    """Redirects that every gateway knows: nobody is asked; they are replaced and removed, and end."""
    carol = passwords_a["carol"]

    async def ends_at(user, password):
        event = await arrives(test, user, password, a)
        return "b" if event[0] == "online" and lines_of(test, "im", f" jid={event[1]} ") == 1 else "a" if event[0] == "online" else event[1]

    test.check("what it was asked, and whom it sent away, it was asked once, and is a redirect", sorted(told(mover, "list")) == [
        f"alice@{DOMAIN} {b}", f"asked bob@{DOMAIN}", f"asked nobody@{DOMAIN}", f"bob@{DOMAIN} {b}", f"sent away alice@{DOMAIN}"])
    for user in ("alice", "bob"):
        told(mover, f"remove {user}@{DOMAIN}")
    await listed(mover)
    test.check("carol's session is behind gateway A", await ends_at("carol", carol) == "a")
    test.check("a redirect for her is taken", told(mover, f"redirect carol@{DOMAIN} {b} 60") == [])
    test.check("carol ends behind gateway B", await ends_at("carol", carol) == "b")
    test.check("... but not before her password is proven", "not-authorized" in await ends_at("carol", "not " + carol))
    test.check("it is listed", await listed(mover, f"carol@{DOMAIN} {b}"))
    test.check("it is removed", told(mover, f"remove carol@{DOMAIN}") == [] and await listed(mover))
    test.check("carol's session is behind gateway A again", await ends_at("carol", carol) == "a")
    told(mover, f"redirect {DOMAIN} {b} 60")
    await listed(mover, f"{DOMAIN} {b}")
    test.check("one for the whole domain takes her along", await ends_at("carol", carol) == "b")
    told(mover, f"remove {DOMAIN}")
    told(mover, f"redirect dave@{DOMAIN} {b} 60")
    await listed(mover, f"dave@{DOMAIN} {b}")
    how, jid, host = await follows(test, "dave", passwords_a["dave"], a, "PLAIN")
    test.check("a user whom SASL does not know is sent without a question", how == "in" and host == b and told(mover, "list") == [f"dave@{DOMAIN} {b}"])
    told(mover, f"remove dave@{DOMAIN}")
    told(mover, f"redirect carol@{DOMAIN} {b} 2")
    await asyncio.sleep(2.5)
    test.check("a redirect ends by itself", await ends_at("carol", carol) == "a")
    test.check("a host that is none is refused", told(mover, f"redirect carol@{DOMAIN} 2001:db8::1 60") == ["refused invalid argument"])


class Cluster:
    """A registry, two gateways that share a key and an instance of the service."""

    def __init__(self, test):
        self.test, self.folder = test, f"{test.folder}/cluster"
        os.mkdir(self.folder)
        self.env, self.passwords = accounts(types.SimpleNamespace(folder=self.folder), DOMAIN, [f"user{i}" for i in range(6)])
        lines = [f"{curve_key(f'{self.folder}/gateway.key')} gateway", f"{curve_key(f'{self.folder}/im.key')} service {DOMAIN}:client,server"]
        lines.append(f"{curve_key(f'{self.folder}/mover.key')} service {ASKED}:client")
        replace_file(f"{self.folder}/authorized_keys", "# serial 1\n" + "\n".join(lines) + "\n")
        words = ready(test.start("registry", [f"{BUILD}/registry/ambrosia-registry", "--state-dir", f"{self.folder}/registry", "--bind",
                                              "tcp://127.0.0.1:0", "--authorized-keys", f"{self.folder}/authorized_keys"]))
        self.registry = f"{words['registry']}={words['key']}"
        self.address = {name: self.start_gateway(name) for name in ("c1", "c2")}
        ready(test.start("cluster-im", [f"{BUILD}/services/im/ambrosia-im", "--domain", DOMAIN, "--registry", self.registry, "--key",
                                        f"{self.folder}/im.key", "--database", f"{self.folder}/im.sqlite"]))

    def start_gateway(self, name):
        """Without a limit of newcomers it announces no room, so that a drain goes evenly over its time."""
        words = ready(self.test.start(name, [
            f"{BUILD}/gateway/ambrosia-gateway", "--registry", self.registry, "--key", f"{self.folder}/gateway.key", "--state-dir",
            f"{self.folder}/{name}", "--workers", "2", "--c2s", "127.0.0.1:0", "--c2s-direct", "none", "--s2s", "none", "--s2s-direct", "none",
            "--svc", "tcp://127.0.0.1:0", "--public-host", "127.0.0.1", "--certs", f"{self.test.folder}/certs",
            "--handshake-share", "0", "--drain-time", "7"], self.env))
        return "127.0.0.1:" + words["c2s"].rpartition(":")[2]

    async def client(self, user, gateway):
        peer = Peer(user)
        await peer.start(["node", f"{HERE}/drivers/xmppjs.mjs"], f"{self.test.folder}/ca.pem", f"{self.test.folder}/client.log")
        host, _, port = self.address[gateway].rpartition(":")
        peer.tell("login", f"{user}@{DOMAIN}", self.passwords[user], host, port, "SCRAM-SHA-1")
        return peer, await peer.expect("online")


async def asked_once(c):
    """What a service answers to one worker of a gateway holds at all of them, and at the other gateway."""
    test, folder = c.test, c.folder
    mover = test.start("asked", [f"{BUILD}/tests/live/mover", folder, ASKED, "open", "erin=gw9.example:15222"],
                       dict(os.environ, MOVER_REGISTRY=c.registry, MOVER_KEY=f"{folder}/mover.key"), stdin=subprocess.PIPE)
    ready(mover)
    test.check("the second service is linked to all four workers", await word_in(f"{test.folder}/asked.log", "gateways=4"))

    async def sent_to(user, gateway):
        client = Follower(f"{user}@{ASKED}", "anything", f"{test.folder}/ca.pem", "PLAIN")
        host, _, port = c.address[gateway].rpartition(":")
        client.connect((host, int(port)), force_starttls=True, disable_starttls=False)
        how = await asyncio.wait_for(client.outcome, 30)
        client.disconnect()
        return how

    test.check("erin is sent on at the first gateway", await sent_to("erin", "c1") == "gw9.example:15222")
    asked = []
    for _ in range(100):
        said = told(mover, "list")
        asked += [line for line in said if line.startswith("asked ")]
        if f"erin@{ASKED} gw9.example:15222" in said:
            break
        await asyncio.sleep(0.05)
    test.check("the answer has become a redirect", said[-1:] == [f"erin@{ASKED} gw9.example:15222"])
    hosts = [await sent_to("erin", gateway) for gateway in ("c2", "c1", "c2", "c1")]
    test.check("she is sent on everywhere", hosts == ["gw9.example:15222"] * 4)
    test.check("somebody whom the service does not know fails", await sent_to("nobody", "c2") == "failed")
    asked += [line for line in told(mover, "list") if line.startswith("asked ")]
    test.check(f"the service was asked once for each of them: {asked}", asked == [f"asked erin@{ASKED}", f"asked nobody@{ASKED}"])


def by_hand(c):
    """ambrosiactl with the service's key, which may redirect the users of its own domain alone."""
    test, ctl = c.test, [f"{BUILD}/services/ctl/ambrosiactl", "--registry", c.registry, "--key", f"{c.folder}/im.key", "redirect", "set"]
    done = subprocess.run(ctl + ["user@other.example", "gw2.example"], capture_output=True, text=True, timeout=60)
    test.check("a redirect that the registry refuses: status 1 and why",
               done.returncode == 1 and done.stderr == "ambrosiactl: redirect: this key may not redirect users of other.example\n")
    done = subprocess.run(ctl + [f"nobody@{DOMAIN}", "gw2.example", "--for", "60"], capture_output=True, text=True, timeout=60)
    test.check("one of its domain is taken", (done.returncode, done.stderr) == (0, ""))


async def drains(c):
    """SIGTERM at one gateway: its clients end at the other, one after the other."""
    test = c.test
    test.check("the service is linked to all four workers", await word_in(f"{test.folder}/cluster-im.log", "gateways=4"))
    peers = [await c.client(f"user{i}", "c1") for i in range(6)]
    test.check("six clients log in at the first gateway", all(online for _, online in peers) and lines_of(test, "c2", "c2s", "bind") == 0)
    for _ in range(300):  # a client is online before it has stream management, and without it there is nothing to resume
        if lines_of(test, "c1", "c2s", "managed", "resumable=") == 6:
            break
        await asyncio.sleep(0.1)
    status = asyncio.get_event_loop().run_in_executor(None, test.stop, "c1")
    left = [await peer.expect("closed") for peer, _ in peers]
    test.check("the first gateway drains: all six are sent away", all(left))
    for _ in range(300):  # the client resumes where it is sent, and says nothing of it
        if lines_of(test, "c2", "c2s", "resumed", "jid=") == 6:
            break
        await asyncio.sleep(0.1)
    jids = sorted(online[1] for _, online in peers)
    test.check("... and resume their sessions at the second", sorted(
        line.split("jid=")[1].strip().strip('"') for line in open(f"{test.folder}/c2.log") if "c2s" in line and " resumed " in line) == jids)
    times = [datetime.fromisoformat(line.split()[0].rstrip("Z")) for line in open(f"{test.folder}/c1.log")
             if " redirect " in line and "host=gw9." not in line]
    spread = (max(times) - min(times)).total_seconds()
    test.check(f"... sent by ones and twos, one for each worker and tenth of a second ({spread:.1f} s)", len(times) == 6 and spread >= 0.15)
    test.check("... within the time of --drain-time", lines_of(test, "c1", "worker", "drain", "seconds=7") == 2)
    test.check("the first gateway ends with status 0", await status == 0)
    for peer, _ in peers:
        await peer.stop()


def main():
    test = Test("interop.redirect")
    for ca in ("ca", "other-ca"):
        authority(test.folder, ca)
    for domain in (DOMAIN, ASKED):
        certificate(test.folder, "ca", domain, f"{test.folder}/certs")
    with open(f"{test.folder}/prepare.log", "ab") as log:
        npm.install(log)
    b, state_b, passwords_b = gateway(test, "b", ("alice", "bob", "carol", "dave"))
    a, state_a, passwords_a = gateway(test, "a", ("alice", "carol"), {user: passwords_b[user] for user in ("alice", "carol")})
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", DOMAIN, "--state-dir", state_b]))
    mover = test.start("mover", [f"{BUILD}/tests/live/mover", state_a, DOMAIN, "open", f"alice={b}", f"bob={b}"], stdin=subprocess.PIPE)
    ready(mover)
    by_itself(test, a, b, passwords_b)
    run(test, story(test, a, b, passwords_a, passwords_b))
    run(test, set_by_a_service(test, mover, a, b, passwords_b))
    cluster = Cluster(test)
    by_hand(cluster)
    run(test, asked_once(cluster))
    run(test, drains(cluster))
    for name in ("mover", "asked", "im", "a", "b", "cluster-im", "c2", "registry"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
