#!/usr/bin/env python3
"""deploy/quickstart in a terminal, as a newcomer meets it: what it prints is enough to log in, Ctrl-C stops all, a second start keeps accounts and messages, and a
port that is taken is told. In a network namespace of its own, on the real ports."""
import asyncio
import os
import pty
import re
import shutil
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from stack import Test, arrives, login, run  # noqa: E402

TOP = os.path.dirname(os.path.dirname(HERE))
DOMAIN = "quickstart.example"


def into_namespace():
    if os.environ.get("AMBROSIA_TEST_NAMESPACE") != "1":
        os.execvpe("unshare", ["unshare", "-n", sys.executable, os.path.abspath(__file__)], dict(os.environ, AMBROSIA_TEST_NAMESPACE="1"))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *command):
        self.pid, self.fd = pty.fork()
        self.text = ""
        if self.pid == 0:
            os.execv(command[0], command)

    def read(self, until=None):
        """Reads until the words come, or to the end."""
        while until is None or until not in self.text:
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                data = b""
            if not data:
                break
            self.text += data.decode().replace("\r", "")
        return self.text

    def end(self):
        """(status, all that it said)"""
        text = self.read()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), text

    def interrupt(self):
        os.write(self.fd, b"\x03")
        return self.end()


def start(test, how):
    terminal = Terminal(f"{TOP}/deploy/quickstart", "--domain", DOMAIN)
    text = terminal.read("Ctrl-C stops all")
    passwords = dict(re.findall(rf"^ +(\w+)@{DOMAIN} +password (\S+)$", text, re.M))
    ports = re.search(r"port (\d+) with STARTTLS, (\d+) with direct TLS; servers on (\d+)", text)
    trust = re.search(r"certificate to trust: (\S+)$", text, re.M)
    test.check(f"{how}: it prints two accounts, the ports and the certificate", len(passwords) == 2 and ports and trust)
    test.check(f"{how}: the ports are the standards' own", ports and ports.groups() == ("5222", "5223", "5269"))
    test.check(f"{how}: there is a command to try", re.search(rf"^ +echo \S+ \| SSL_CERT_FILE=\S+ \S+ -f \S+ bob@{DOMAIN}$", text, re.M))
    return terminal, passwords, trust.group(1)


def free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return s.connect_ex(("127.0.0.1", port)) != 0


async def enter(test, how, user, passwords, trust):
    client, outcome = await login(f"{user}@{DOMAIN}", passwords[user], trust, ("127.0.0.1", 5222))
    test.check(f"{how}: {user} logs in and verifies the certificate", outcome == "in")
    return client


async def leave(client):
    client.disconnect()
    await asyncio.wait_for(client.disconnected, 20)


async def first_day(test, passwords, trust):
    bob = await enter(test, "first start", "bob", passwords, trust)
    await leave(bob)
    alice = await enter(test, "first start", "alice", passwords, trust)
    alice.send_message(f"bob@{DOMAIN}", "For when you wake")
    alice.send_message(f"alice@{DOMAIN}", "behind it")
    test.check("first start: the service took the message for bob, who is away", await arrives(alice, (f"alice@{DOMAIN}", "behind it")))
    await leave(alice)


async def second_day(test, passwords, trust):
    bob = await enter(test, "second start", "bob", passwords, trust)
    test.check("second start: the message from before waits for bob", await arrives(bob, (f"alice@{DOMAIN}", "For when you wake")))
    await leave(bob)


def stopped(test, how, terminal):
    status, text = terminal.interrupt()
    test.check(f"{how}: Ctrl-C stops all, with status 0", status == 0 and text.rstrip().endswith("stopped"))
    test.check(f"{how}: nobody is left at the ports", all(free(port) for port in (5222, 5223, 5269, 5320, 5310)))


def taken(test):
    status, text = Terminal(f"{TOP}/deploy/quickstart", "--domain", f"other.{DOMAIN}").end()
    test.check("a port that is taken is told, with the flag", status == 1 and "Address already in use; choose another with --c2s" in text)
    status, text = Terminal(f"{TOP}/deploy/quickstart", "--domain", "no domain").end()
    test.check("what is no domain is refused, with status 2", status == 2 and text.count("\n") == 1)


def packages(test):
    def read(name):
        return open(f"{TOP}/{name}").read().split()
    ours, tests = read("deploy/packages"), read("tests/packages")
    test.check("deploy/packages and tests/packages are sorted, the first within the second", ours == sorted(ours) and tests == sorted(tests) and set(ours) <= set(tests))


def clean():
    for name in (DOMAIN, f"other.{DOMAIN}"):
        shutil.rmtree(f"{TOP}/var/{name}", ignore_errors=True)
        if os.path.exists(f"{TOP}/var/{name}.crt"):
            os.unlink(f"{TOP}/var/{name}.crt")


def main():
    into_namespace()
    test = Test("live.quickstart")
    clean()
    packages(test)
    terminal, passwords, trust = start(test, "first start")
    run(test, first_day(test, passwords, trust))
    stopped(test, "first start", terminal)
    terminal, again, trust = start(test, "second start")
    test.check("second start: the passwords are the same", again == passwords)
    run(test, second_day(test, again, trust))
    taken(test)
    stopped(test, "second start", terminal)
    clean()
    test.finish()


main()
