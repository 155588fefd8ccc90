#!/usr/bin/env python3
"""README's first session as a newcomer would type it: profanity, unmodified, in two terminals, against a gateway with a certificate that it
made itself. Only the port is another."""
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "..", "live", "lib")]
from stack import BUILD, Test, accounts, ready  # noqa: E402
from terminals import Terminals  # noqa: E402


def commands():
    """The section's blocks of commands, each a list of lines."""
    with open(os.path.join(HERE, "..", "..", "README.md")) as f:
        section = re.search(r"^## A first session\n(.*?)^## ", f.read(), re.S | re.M).group(1)
    return [[line.strip() for line in block.splitlines()] for block in re.findall(r"(?:^    .*\n)+", section, re.M)]


def play(test, terminals, port, passwords):
    first, second, talk = [[line.replace("port 5222", f"port {port}") for line in block] for block in commands()]
    for user, (program, connect, *rest) in (("alice", first), ("bob", second)):
        terminals.open(user, program)
        test.check(f"{user}: {program} starts", terminals.shows(user, "Profanity. Type /help"))
        terminals.type(user, connect)
        test.check(f"{user}: {connect} asks for the password", terminals.shows(user, "Enter password"))
        terminals.type(user, passwords[user])
        for line in rest:
            test.check(f"{user}: the certificate is shown", terminals.shows(user, "Fingerprint", f"Use '{line}' to accept"))
            terminals.type(user, line)
        test.check(f"{user} is in", terminals.shows(user, f"{user}@localhost/", "logged in successfully", "[TLS] [online]"))
    for line in talk:
        terminals.type("alice", line)
    test.check("bob hears of the message", terminals.shows("bob", "chat message: alice@localhost"))
    terminals.type("bob", "/win 2")
    test.check("and reads it", terminals.shows("bob", "alice@localhost", talk[0].split()[-1]))
    terminals.type("bob", "and good bye")
    test.check("alice reads the answer", terminals.shows("alice", "and good bye"))


def main():
    test = Test("interop.first_session")
    terminals = Terminals(test)
    env, passwords = accounts(test, "localhost", ("alice", "bob"))
    state = f"{test.folder}/state"
    gateway = ["--state-dir", state, "--certs", f"{test.folder}/none", "--c2s", "127.0.0.1:0", "--c2s-direct", "none", "--s2s", "127.0.0.1:0",
               "--svc", "tcp://127.0.0.1:0", "--registry-bind", "tcp://127.0.0.1:0", "--public-host", "localhost"]
    port = ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", *gateway], env))["c2s"].rpartition(":")[2]
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", "localhost", "--state-dir", state]))
    try:
        play(test, terminals, port, passwords)
    finally:
        terminals.close()
    test.check("the service ends with status 0 at SIGTERM", test.stop("im") == 0)
    test.check("the gateway ends with status 0 at SIGTERM", test.stop("gateway") == 0)
    test.finish()


main()
