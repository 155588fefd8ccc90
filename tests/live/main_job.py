#!/usr/bin/env python3
"""The main job with a client that we did not write: slixmpp logs in by STARTTLS and SCRAM, alice writes to bob, bob answers; a wrong password is refused."""
import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import tempfile

import slixmpp

# Cyrus SASL's own SCRAM plugin loses a few bytes for each exchange; ours are held to account.
os.environ["LSAN_OPTIONS"] = "suppressions=" + os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lsan.supp")
BUILD = os.environ.get("BUILD", "build/asan")
results = {"passed": 0, "failed": 0}


def check(name, ok):
    results["passed" if ok else "failed"] += 1
    print(("ok " if ok else "FAIL ") + name, flush=True)


def start(folder, name, args, env):
    with open(f"{folder}/{name}.err", "wb") as err:
        return subprocess.Popen(args, stdout=subprocess.PIPE, stderr=err, env=env)


def ready(process):
    line = process.stdout.readline().decode()
    if not line.startswith("ready"):
        raise SystemExit("a program did not get ready")
    return dict(word.split("=", 1) for word in line.split()[1:])


def accounts(folder):
    os.mkdir(f"{folder}/sasl")
    with open(f"{folder}/sasl/xmpp.conf", "w") as f:
        f.write(f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {folder}/sasldb2\nmech_list: SCRAM-SHA-256 SCRAM-SHA-1 PLAIN\n")
    env = dict(os.environ, SASL_CONF_PATH=f"{folder}/sasl")
    passwords = {}
    for user in ("alice", "bob"):
        passwords[user] = secrets.token_hex(12)
        subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{folder}/sasldb2", "-u", "localhost", user],
                       input=passwords[user].encode(), check=True, env=env)
    return env, passwords


class Client(slixmpp.ClientXMPP):
    def __init__(self, user, password, ca, mech):
        super().__init__(f"{user}@localhost", password, sasl_mech=mech)
        self.ca_certs = ca
        self.outcome = asyncio.get_event_loop().create_future()
        self.inbox = asyncio.Queue()
        self.add_event_handler("session_start", self.on_start)
        self.add_event_handler("failed_all_auth", lambda _: self.settle("failed"))
        self.add_event_handler("message", lambda m: self.inbox.put_nowait((m["from"].bare, m["body"])))

    def settle(self, value):
        if not self.outcome.done():
            self.outcome.set_result(value)

    async def on_start(self, _):
        self.send_presence()
        await self.get_roster()
        self.settle("in")


async def login(user, password, ca, port, mech):
    client = Client(user, password, ca, mech)
    client.connect(("127.0.0.1", port), force_starttls=True, disable_starttls=False)
    return client, await asyncio.wait_for(client.outcome, 30)


async def story(passwords, ca, port):
    alice, how = await login("alice", passwords["alice"], ca, port, "SCRAM-SHA-256-PLUS")
    check("alice logs in with SCRAM-SHA-256-PLUS", how == "in")
    bob, how = await login("bob", passwords["bob"], ca, port, "PLAIN")
    check("bob logs in with PLAIN", how == "in")
    alice.send_message("bob@localhost", "Wherefore art thou?")
    check("alice's message reaches bob", await asyncio.wait_for(bob.inbox.get(), 20) == ("alice@localhost", "Wherefore art thou?"))
    bob.send_message("alice@localhost", "Here.")
    check("bob's answer reaches alice", await asyncio.wait_for(alice.inbox.get(), 20) == ("bob@localhost", "Here."))
    wrong, how = await login("alice", "not " + passwords["alice"], ca, port, "PLAIN")
    check("a wrong password is refused", how == "failed")
    for client in (alice, bob, wrong):
        client.disconnect()
    await asyncio.sleep(0)


def main():
    folder = tempfile.mkdtemp()
    env, passwords = accounts(folder)
    gateway = service = None
    try:
        gateway = start(folder, "gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", f"{folder}/state", "--c2s", "127.0.0.1:0",
                                            "--c2s-direct", "none", "--s2s", "127.0.0.1:0", "--svc", "tcp://127.0.0.1:0",
                                            "--registry-bind", "tcp://127.0.0.1:0", "--public-host", "localhost",
                                            "--certs", f"{folder}/none"], env)
        ports = ready(gateway)
        service = start(folder, "im", [f"{BUILD}/services/im/ambrosia-im", "--domain", "localhost", "--state-dir", f"{folder}/state"], env)
        ready(service)
        asyncio.get_event_loop().run_until_complete(
            asyncio.wait_for(story(passwords, f"{folder}/state/self-signed.crt", int(ports["c2s"])), 120))
        for name, process in (("the service", service), ("the gateway", gateway)):
            process.terminate()
            check(f"{name} ends with status 0 at SIGTERM", process.wait(30) == 0)
    except Exception as e:  # a failure is told with both logs, then counted
        check(f"no exception ({type(e).__name__}: {e})", False)
    finally:
        for process in (service, gateway):
            if process is not None and process.poll() is None:
                process.kill()
        if results["failed"]:
            for name in ("gateway", "im"):
                if os.path.exists(f"{folder}/{name}.err"):
                    print(open(f"{folder}/{name}.err").read()[-6000:])
        shutil.rmtree(folder)
    print(f"live.main_job: {results['passed']} passed, {results['failed']} failed")
    sys.exit(results["failed"] != 0)


main()
