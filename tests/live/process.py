#!/usr/bin/env python3
"""The programs as an operator meets them: wrong usage, ports that are taken, another user, a renewed certificate at SIGHUP with no stream dropped."""
import asyncio
import os
import pwd
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, arrives, authority, certificate, login, ready, run  # noqa: E402
from by_hand import ByHand  # noqa: E402

GATEWAY = f"{BUILD}/gateway/ambrosia-gateway"
REGISTRY = f"{BUILD}/registry/ambrosia-registry"
IM, ECHO = f"{BUILD}/services/im/ambrosia-im", f"{BUILD}/services/echo/ambrosia-echo"
DOMAIN = "localhost"


def once(*args):
    """(exit status, lines on standard error that are not log lines)"""
    done = subprocess.run(args, capture_output=True, text=True, timeout=60)
    return done.returncode, [line for line in done.stderr.splitlines() if not line[:4].isdigit()]


def command(state, certs, c2s="127.0.0.1:0", *more):
    return [GATEWAY, "--state-dir", state, "--c2s", c2s, "--c2s-direct", "127.0.0.1:0", "--s2s", "127.0.0.1:0", "--svc", "tcp://127.0.0.1:0",
            "--registry-bind", "tcp://127.0.0.1:0", "--public-host", DOMAIN, "--certs", certs, *more]


def direct_serial(port, trust):
    """Serial number of the certificate that a new direct-TLS connection is shown, verified against the authority."""
    context = ssl.create_default_context(cafile=trust)
    context.set_alpn_protocols(["xmpp-client"])
    with socket.create_connection(("127.0.0.1", port), 10) as raw, context.wrap_socket(raw, server_hostname=DOMAIN) as tls:
        return tls.getpeercert()["serialNumber"], tls.selected_alpn_protocol(), tls.version()


def usage(test):
    for args in (["--no-such-flag"], ["--c2s", "nowhere"], ["--workers", "many"], ["--log-level", "loud"], ["stray"], ["--svc", "nonsense"],
                 ["--svc", "tcp://127.0.0.1:99999"], ["--registry-bind", "ipc:///x"], ["--resolver", "here"],
                 ["--svc", "tcp://127.0.0.1:65534", "--workers", "3"]):
        status, lines = once(GATEWAY, *args)
        test.check(f"{' '.join(args)}: status 2 and one line", status == 2 and len(lines) == 1)
    for args in ([], ["--domain", "a b"], ["--domain", "a.example", "--policy", "nice"], ["--domain", "a.example", "--failover", "nice"],
                 ["--domain", "a.example", "--s2s-auth", "none"]):
        for program in (IM, ECHO):
            if program == IM or args[-1:] != ["a b"]:
                status, lines = once(program, *args)
                test.check(f"{os.path.basename(program)} {' '.join(args)}: status 2 and one line", status == 2 and len(lines) == 1)
    done = subprocess.run([GATEWAY, "--print-config"], capture_output=True, text=True, timeout=60)
    test.check("--print-config shows what is in force", done.returncode == 0 and "--stanza-max 262144" in done.stdout)


async def renewal(test, password, ports, gateway, trust, certs):
    alice, how = await login(f"alice@{DOMAIN}", password, trust, ("127.0.0.1", int(ports["c2s"])), "PLAIN")
    test.check("alice logs in", how == "in")
    before, alpn, version = direct_serial(int(ports["c2s-direct"]), trust)
    test.check("direct TLS speaks TLS 1.3 and answers ALPN xmpp-client", (alpn, version) == ("xmpp-client", "TLSv1.3"))
    certificate(test.folder, "ca", DOMAIN, certs)
    os.chmod(f"{certs}/{DOMAIN}.key", 0o644)
    gateway.send_signal(signal.SIGHUP)
    for _ in range(200):
        after, _, _ = direct_serial(int(ports["c2s-direct"]), trust)
        if after != before:
            break
        await asyncio.sleep(0.05)
    test.check("after SIGHUP new connections see the renewed certificate", after != before)
    alice.send_message(f"alice@{DOMAIN}", "still here")
    test.check("the stream from before goes on", await arrives(alice, (f"alice@{DOMAIN}", "still here")))
    alice.disconnect()
    await asyncio.sleep(0)


async def stuck(password, ports, trust):
    """Two that keep a stream's end waiting for as long as it can: one says nothing, to the other nothing more can be sent."""
    def held():
        with urllib.request.urlopen(f"http://127.0.0.1:{ports['http']}/metrics", timeout=20) as answer:
            return float(re.search(r'^ambrosia_held_bytes{what="output"} (.*)$', answer.read().decode(), re.M).group(1))

    silent = socket.create_connection(("127.0.0.1", int(ports["c2s"])), 10)
    client = await ByHand(DOMAIN, ("127.0.0.1", int(ports["c2s-direct"])), trust).open()
    if not await client.login("alice", password) or not await client.bind("stuck"):
        raise RuntimeError("alice does not get in")
    body = "x" * 30000
    for _ in range(1000):
        if held() > len(body):
            return silent, client
        client.say(f"<message to='alice@{DOMAIN}/stuck' type='chat'><body>{body}</body></message>")
        await asyncio.sleep(0.01)
    raise RuntimeError("her output is never blocked")


def secrets(test, certs):
    """What is not a whole and private master is not taken for one; --print-config knows every flag's variable."""
    state = f"{test.folder}/other"
    os.mkdir(state, 0o700)
    for text, mode, how in ((b"short", 0o600, "cut short"), (bytes(32), 0o644, "readable by others")):
        with open(os.open(f"{state}/master", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.write(text)
        os.chmod(f"{state}/master", mode)
        status, lines = once(*command(state, certs))
        test.check(f"a master that is {how}: status 1 and one line", status == 1 and len(lines) == 1 and "/master" in lines[0])
        os.unlink(f"{state}/master")
    for program in (GATEWAY, REGISTRY, IM, ECHO):
        shown = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60).stdout
        flags = [word[2:].upper().replace("-", "_") for word in re.findall(r"^  (--\S+) [A-Z]", shown, re.M)]
        missing = [flag for flag in flags if f"AMBROSIA_{flag}]" not in shown]
        test.check(f"{os.path.basename(program)}: each of {len(flags)} flags has its variable", len(flags) > 5 and not missing)
    env = dict(os.environ, AMBROSIA_STANZA_MAX="70000", AMBROSIA_CERTS="/a /b")
    shown = subprocess.run([GATEWAY, "--print-config"], capture_output=True, text=True, timeout=60, env=env).stdout.splitlines()
    test.check("variables are in force", {"--stanza-max 70000", "--certs /a", "--certs /b"} <= set(shown))


async def keep(to, story):
    to.append(await story)


def runs_as(process):
    return {line.split()[1] for line in open(f"/proc/{process.pid}/status") if line.startswith("Uid:")}


def registry(test):
    """Started as root, it becomes whom it is told, before it makes any file, and reads its keys again as that user."""
    nobody = pwd.getpwnam("nobody").pw_uid
    state = f"{test.folder}/registry"
    command = [REGISTRY, "--state-dir", state, "--bind", "tcp://127.0.0.1:0", "--user"]
    status, lines = once(*command, "no-such-user")
    test.check("registry: a user that does not exist: status 1 and one line", status == 1 and len(lines) == 1 and "no-such-user" in lines[0])
    process = test.start("registry", [*command, "nobody"])
    ready(process)
    test.check("registry: it runs as the user that --user names", runs_as(process) == {str(nobody)})
    files = {name: os.stat(f"{state}/{name}") for name in os.listdir(state)}
    test.check("registry: its key, its master and its authorised keys are that user's", {"registry.key", "master", "authorized_keys"} <= set(files)
               and all(s.st_uid == nobody for s in files.values()))
    test.check("registry: it ends with status 0 at SIGTERM", test.stop("registry") == 0)


def main():
    test = Test("live.process")
    os.chmod(test.folder, 0o755)
    usage(test)
    secrets(test, f"{test.folder}/none")
    registry(test)
    env, passwords = accounts(test, DOMAIN, ("alice",))
    authority(test.folder, "ca")
    certs, trust = f"{test.folder}/certs", f"{test.folder}/ca.pem"
    certificate(test.folder, "ca", DOMAIN, certs)
    os.chmod(f"{certs}/{DOMAIN}.key", 0o644)  # the user that it becomes reads it again at SIGHUP
    os.chown(f"{test.folder}/sasldb2", pwd.getpwnam("nobody").pw_uid, -1)
    state = f"{test.folder}/state"
    gateway = test.start("gateway", command(state, certs, "127.0.0.1:0", "--user", "nobody", "--drain-time", "1"), env)
    ports = ready(gateway)
    test.check("it runs as the user that --user names", runs_as(gateway) == {str(pwd.getpwnam("nobody").pw_uid)})
    modes = {name: os.stat(f"{state}/{name}") for name in os.listdir(state) if name.endswith(".key") or name == "master"}
    test.check("keys and the master are 0600 and that user's",
               modes and all(s.st_mode & 0o777 == 0o600 and s.st_uid == pwd.getpwnam("nobody").pw_uid for s in modes.values()))
    status, lines = once(*command(f"{test.folder}/other", certs, f"127.0.0.1:{ports['c2s']}"))
    test.check("a port that is taken: status 1 and one line that names the flag", status == 1 and len(lines) == 1 and "--c2s" in lines[0])
    status, lines = once(GATEWAY, "--user", "no-such-user", *command(f"{test.folder}/other", certs)[1:])
    test.check("a user that does not exist: status 1 and one line", status == 1 and len(lines) == 1 and "no-such-user" in lines[0])
    status, lines = once(f"{BUILD}/services/im/ambrosia-im", "--domain", DOMAIN, "--state-dir", f"{test.folder}/nowhere")
    test.check("a service without a gateway: status 1 and one line", status == 1 and len(lines) == 1)
    # Ours is another user than the gateway's by now: a key file of our own, and the registry named.
    with open(os.open(f"{test.folder}/service.key", os.O_WRONLY | os.O_CREAT, 0o600), "w") as copy:
        copy.write(open(f"{state}/service.key").read())
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", DOMAIN, "--registry", open(f"{state}/registry").read().strip(),
                            "--key", f"{test.folder}/service.key", "--database", f"{test.folder}/im.sqlite"]))
    run(test, renewal(test, passwords["alice"], ports, gateway, trust, certs))
    held = []
    run(test, keep(held, stuck(passwords["alice"], ports, trust)))
    test.check("the gateway ends with status 0 at SIGTERM, though some of its clients take no word of it", held and test.stop("gateway") == 0)
    test.check("the service ends with status 0 at SIGTERM", test.stop("im") == 0)
    test.finish()


main()
