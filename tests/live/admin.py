#!/usr/bin/env python3
"""An administrator's view and hand: every command of ambrosiactl against a gateway of two workers, services and clients that run."""
import asyncio
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, login, ready, run  # noqa: E402

DOMAIN = "admin.example"


class Ctl:
    """ambrosiactl on a state folder: exit status, standard output, standard error."""

    def __init__(self, test, state):
        self.test, self.base = test, [f"{BUILD}/services/ctl/ambrosiactl", "--state-dir", state]

    def __call__(self, *args):
        done = subprocess.run(self.base + list(args), capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def rows(self, *args):
        """The JSON answer of a command that must succeed."""
        status, out, err = self(*args, "--json")
        if status != 0:
            print(f"   {args}: status {status}: {err}", flush=True)
        return json.loads(out) if status == 0 else []

    def fails(self, what, status, words, *args):
        got, _, err = self(*args)
        ok = got == status and words in err and err.count("\n") >= 1
        if not ok:
            print(f"   {args}: status {got}: {err}", flush=True)
        self.test.check(what, ok)


async def until(holds, seconds=20):
    for _ in range(seconds * 20):
        if holds():
            return True
        await asyncio.sleep(0.05)
    return False


def usage(ctl):
    ctl.fails("no command: status 2 and a line", 2, "no command")
    ctl.fails("an unknown command: status 2", 2, "unknown command", "frobnicate")
    ctl.fails("arguments too many: status 2", 2, "other arguments", "status", "now")
    ctl.fails("a gateway that is not there: status 1, by name", 1, "nowhere.example", "status", "--gateway", "nowhere.example")
    ctl.fails("an address that is none: every gateway says so", 1, "jid is no address", "streams", "--jid", "@")
    ctl.fails("a role that is none", 1, "role is c2s, s2s-in or s2s-out", "streams", "--role", "king")


def keys(test, ctl, state):
    path = f"{test.folder}/new.key"
    status, out, _ = ctl("keygen", path)
    test.check("keygen prints the public key and keeps the file private",
               status == 0 and len(out.strip()) == 40 and out.strip() in open(path).read() and os.stat(path).st_mode & 0o777 == 0o600)
    ctl.fails("keygen never writes over a file", 1, "must not be there yet", "keygen", path)
    ctl.fails("a key that the registry does not know", 1, "does not know this key", "status", "--key", path)
    ctl.fails("a service's key is refused by name", 1, "the key does not have the role admin", "status", "--key", f"{state}/service.key")


def views(test, ctl):
    rows = ctl.rows("status")
    test.check("status: both workers, ready, with the service",
               len(rows) == 2 and all(r["state"] == "ready" and r["services"] == 1 and r["public-host"] == DOMAIN for r in rows))
    test.check("status: one client is established", sum(r["clients"] for r in rows) == 1)
    test.check("gateways: both, linked", [g["linked"] for g in ctl.rows("gateways")] == [True, True])
    services = ctl.rows("services")
    test.check("services: the registration, seen and linked everywhere",
               [(s["domain"], s["seen"], s["linked"], s["streams"]) for s in services] == [(DOMAIN, 2, 2, 1)])
    test.check("services: none of another domain", ctl.rows("services", "--domain", "other.example") == [])
    status, out, _ = ctl("status")
    test.check("a table: titles and a row for each worker", status == 0 and len(out.splitlines()) == 3 and out.startswith("HOST"))


def streams(test, ctl, alice):
    rows = ctl.rows("streams", "--role", "c2s")
    test.check("streams: alice, established, over TLS",
               [(r["jid"], r["state"], r["tls"], r["address"]) for r in rows] == [(str(alice.boundjid), "established", True, "127.0.0.1")])
    test.check("streams: bytes were counted", all(r["bytes-in"] > 100 and r["bytes-out"] > 100 for r in rows))
    for flag, value, number in (("--jid", f"alice@{DOMAIN}", 1), ("--jid", f"ALICE@{DOMAIN.upper()}", 1), ("--jid", f"bob@{DOMAIN}", 0),
                                ("--jid", f"alice@{DOMAIN}/elsewhere", 0), ("--domain", DOMAIN, 1), ("--domain", "other.example", 0),
                                ("--role", "s2s-out", 0)):
        test.check(f"streams {flag} {value}: {number}", len(ctl.rows("streams", flag, value)) == number)


async def story(test, ctl, state, ca, port, passwords):
    alice, how = await login(f"alice@{DOMAIN}", passwords["alice"], ca, ("127.0.0.1", port), "PLAIN")
    test.check("alice logs in", how == "in")
    usage(ctl)
    keys(test, ctl, state)
    views(test, ctl)
    streams(test, ctl, alice)
    alice.disconnect()
    test.check("a stream that ended is no longer listed", await until(lambda: ctl.rows("streams") == []))


def main():
    test = Test("live.admin")
    env, passwords = accounts(test, DOMAIN, ("alice", "bob"))
    state = f"{test.folder}/state"
    gateway = test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "127.0.0.1:0", "--c2s-direct", "none",
                                     "--s2s", "127.0.0.1:0", "--svc", "tcp://127.0.0.1:0", "--registry-bind", "tcp://127.0.0.1:0", "--workers", "2",
                                     "--public-host", DOMAIN, "--certs", f"{test.folder}/none", "--resolver", "127.0.0.1:9"], env)
    ports = ready(gateway)
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", DOMAIN, "--state-dir", state]))
    ctl = Ctl(test, state)
    run(test, until(lambda: [s["linked"] for s in ctl.rows("services")] == [2]))
    run(test, story(test, ctl, state, f"{state}/self-signed.crt", int(ports["c2s"]), passwords))
    for name in ("im", "gateway"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


main()
