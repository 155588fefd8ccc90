#!/usr/bin/env python3
"""One domain: slixmpp logs in by STARTTLS with SCRAM -PLUS and with PLAIN, alice writes to bob, bob answers; a wrong password is refused."""
import asyncio
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, arrives, login, ready, run  # noqa: E402


async def story(test, passwords, ca, address):
    alice, how = await login("alice@localhost", passwords["alice"], ca, address, "SCRAM-SHA-256-PLUS")
    test.check("alice logs in with SCRAM-SHA-256-PLUS", how == "in")
    bob, how = await login("bob@localhost", passwords["bob"], ca, address, "PLAIN")
    test.check("bob logs in with PLAIN", how == "in")
    alice.send_message("bob@localhost", "Wherefore art thou?")
    test.check("alice's message reaches bob", await arrives(bob, ("alice@localhost", "Wherefore art thou?")))
    bob.send_message("alice@localhost", "Here.")
    test.check("bob's answer reaches alice", await arrives(alice, ("bob@localhost", "Here.")))
    wrong, how = await login("alice@localhost", "not " + passwords["alice"], ca, address, "PLAIN")
    test.check("a wrong password is refused", how == "failed")
    for client in (alice, bob, wrong):
        client.disconnect()
    await asyncio.sleep(0)


def main():
    test = Test("live.main_job")
    env, passwords = accounts(test, "localhost", ("alice", "bob"))
    state = f"{test.folder}/state"
    ports = ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "127.0.0.1:0",
                                         "--c2s-direct", "none", "--s2s", "127.0.0.1:0", "--svc", "tcp://127.0.0.1:0", "--registry-bind",
                                         "tcp://127.0.0.1:0", "--public-host", "localhost", "--certs", f"{test.folder}/none"], env))
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", "localhost", "--state-dir", state]))
    run(test, story(test, passwords, f"{state}/self-signed.crt", ("127.0.0.1", int(ports["c2s"]))))
    test.check("the service ends with status 0 at SIGTERM", test.stop("im") == 0)
    test.check("the gateway ends with status 0 at SIGTERM", test.stop("gateway") == 0)
    test.finish()


main()
