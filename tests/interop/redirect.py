#!/usr/bin/env python3
"""see-other-host (RFC 6120 section 4.9.3.19): clients dial gateway A and end in a session behind gateway B. @xmpp/client follows by itself, but not
in the middle of a SASL exchange (docs/DECISIONS.md); there slixmpp reports where to go, and this test goes: its own reconnection forgets the port."""
import asyncio
import os
import subprocess
import sys
import types

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "..", "live", "lib")]
from peer import Peer  # noqa: E402
from stack import BUILD, Client, Test, accounts, authority, certificate, ready, run  # noqa: E402

DOMAIN = "moved.example"


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
    test.check("gateway A sent three clients away", lines_of(test, "a", "c2s", "redirect", "host=") == 3)


def main():
    test = Test("interop.redirect")
    authority(test.folder, "ca")
    certificate(test.folder, "ca", DOMAIN, f"{test.folder}/certs")
    with open(f"{test.folder}/prepare.log", "ab") as log:
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=HERE, check=True, stdout=log, stderr=log)
    b, state_b, passwords_b = gateway(test, "b", ("alice", "bob"))
    a, state_a, passwords_a = gateway(test, "a", ("alice",), {"alice": passwords_b["alice"]})
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", DOMAIN, "--state-dir", state_b]))
    ready(test.start("mover", [f"{BUILD}/tests/live/mover", state_a, DOMAIN, "open", f"alice={b}", f"bob={b}"]))
    run(test, story(test, a, b, passwords_a, passwords_b))
    for name in ("mover", "im", "a", "b"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
