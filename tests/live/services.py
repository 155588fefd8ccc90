#!/usr/bin/env python3
"""Two services share a gateway: one holds a.example and b.example, another the server type of c.example alone. What each key may do, and what it may not."""
import asyncio
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from stack import BUILD, Test, accounts, arrives, login, ready, run  # noqa: E402

IM, ECHO = f"{BUILD}/services/im/ambrosia-im", f"{BUILD}/services/echo/ambrosia-echo"


def account(test, env, user, domain, password):
    subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{test.folder}/sasldb2", "-u", domain, user], input=password.encode(), check=True, env=env)


def authorise(state, lines):
    """authorized_keys of the embedded registry with other lines for services; `{service}` and `{other}` are keys."""
    path = f"{state}/authorized_keys"
    kept = [line for line in open(path).read().splitlines() if line and not line.startswith("#") and " service " not in line]
    with open(path + ".new", "w") as f:
        f.write("# serial 2\n" + "\n".join(kept + lines) + "\n")
    os.chmod(path + ".new", 0o600)
    os.rename(path + ".new", path)


def key_of(path):
    """The public key of a key file: its first line of 40 characters."""
    return next(word for line in open(path).read().splitlines() for word in line.split() if len(word) == 40)


async def word_in(path, text, seconds=30):
    """Waits until a log says it."""
    for _ in range(seconds * 10):
        if text in open(path, errors="replace").read():
            return True
        await asyncio.sleep(0.1)
    return False


async def story(test, state, port):
    address, ca = ("127.0.0.1", port), f"{state}/self-signed.crt"
    alice, how = await login("alice@a.example", "password-a", ca, address, "PLAIN")
    test.check("alice of a.example logs in", how == "in")
    bella, how = await login("bella@b.example", "password-b", ca, address, "PLAIN")
    test.check("bella of b.example logs in at the same service", how == "in")
    thief, how = await login("alice@b.example", "password-a", ca, address, "PLAIN")
    test.check("alice's password is nothing at b.example", how == "failed")
    thief.disconnect()
    alice.send_message("bella@b.example", "From one domain to the next")
    test.check("a message from a.example reaches b.example", await arrives(bella, ("alice@a.example", "From one domain to the next")))
    alice.send_message("anyone@c.example", "Echo?")
    test.check("a message to c.example comes back from the other service", await arrives(alice, ("anyone@c.example", "Echo?")))
    test.check("it went through no server stream", "s2s-out" not in open(f"{test.folder}/gateway.log").read())
    await forgeries(test, state, bella)
    for client in (alice, bella):
        client.disconnect()
    await asyncio.sleep(0)


async def forgeries(test, state, bella):
    """What a service says in the name of a domain that is not its key's goes nowhere, and it is told why."""
    forger = await asyncio.create_subprocess_exec(f"{BUILD}/tests/live/forger", open(f"{state}/registry").read().strip(), f"{test.folder}/other.key",
                                                  "c.example", "a.example", "bella@b.example", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await asyncio.wait_for(forger.communicate(), 60)
    told = out.decode().splitlines()
    test.check("a stream in the name of another key's domain is refused: forbidden", told[:1] == ["1: forbidden"])
    test.check("the gateway says for which domain", "from=a.example" in line_of(f"{test.folder}/gateway.log", "not authorised for that domain"))
    test.check("a stanza with a forged from comes back: forbidden", told[1:2] == ["2: forbidden"])
    test.check("the service's log says on which stream", b"a stanza on the stream c.example to b.example that does not belong there" in err)
    test.check("an honest one behind it is delivered", told[2:] == ["3: delivered"] and forger.returncode == 0)
    test.check("and nothing before it", await arrives(bella, ("mallory@c.example", "number 3")))


def line_of(path, words):
    return next((line for line in open(path, errors="replace") if words in line), "")


async def refusals(test, state, gateway):
    """A key that the registry does not know, a domain that is not the key's, and a key that loses its line."""
    registry = open(f"{state}/registry").read().strip()
    test.start("stranger", [ECHO, "--domain", "d.example", "--registry", registry, "--key", f"{test.folder}/stranger.key"])
    test.check("a key that nobody wrote down is refused, and told why", await word_in(f"{test.folder}/stranger.log", "does not know the key"))
    test.stop("stranger")
    test.start("greedy", [ECHO, "--domain", "a.example", "--registry", registry, "--key", f"{test.folder}/other.key"])
    test.check("a domain that is another key's is refused by name",
               await word_in(f"{test.folder}/greedy.log", "domain a.example is not authorised for this key"))
    test.stop("greedy")
    ctl = [f"{BUILD}/services/ctl/ambrosiactl", "--state-dir", state, "status"]
    asked = subprocess.run(ctl + ["--key", f"{test.folder}/other.key"], capture_output=True, text=True, timeout=60)
    test.check("ADMIN by a service's key is refused by name", asked.returncode == 1 and "the key does not have the role admin" in asked.stderr)
    asked = subprocess.run(ctl, capture_output=True, text=True, timeout=60)
    test.check("and answered for a key that has the role", asked.returncode == 0 and "a.example" in asked.stdout)


def main():
    test = Test("live.services")
    env, _ = accounts(test, "a.example", ())
    account(test, env, "alice", "a.example", "password-a")
    account(test, env, "bella", "b.example", "password-b")
    state = f"{test.folder}/state"
    command = [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", "127.0.0.1:0", "--c2s-direct", "none", "--s2s", "127.0.0.1:0",
               "--svc", "tcp://127.0.0.1:0", "--registry-bind", "tcp://127.0.0.1:0", "--public-host", "a.example", "--certs", f"{test.folder}/none",
               "--resolver", "127.0.0.1:9"]
    ready(test.start("gateway", command, env))
    test.check("SIGTERM ends an idle gateway with status 0", test.stop("gateway") == 0)
    for name in ("other", "stranger"):
        with open(os.open(f"{test.folder}/{name}.key", os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(fresh_key(test, name))
    authorise(state, [f"{key_of(state + '/service.key')} service a.example:client,server b.example:client,server",
                      f"{key_of(test.folder + '/other.key')} service c.example:server"])
    gateway = test.start("gateway", command, env)
    ports = ready(gateway)
    registry = open(f"{state}/registry").read().strip()
    ready(test.start("im", [IM, "--domain", "a.example", "--domain", "b.example", "--state-dir", state]))
    ready(test.start("echo", [ECHO, "--domain", "c.example", "--types", "server", "--registry", registry, "--key", f"{test.folder}/other.key"]))
    run(test, story(test, state, int(ports["c2s"])))
    run(test, refusals(test, state, gateway))
    for name in ("echo", "im", "gateway"):
        test.check(f"{name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.finish()


def fresh_key(test, name):
    """A key pair, made by a gateway's first start in a folder of its own: there is no other tool for it yet."""
    folder = f"{test.folder}/key-{name}"
    ready(test.start(name, [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", folder, "--c2s", "none", "--c2s-direct", "none", "--s2s", "none",
                            "--svc", "tcp://127.0.0.1:0", "--registry-bind", "tcp://127.0.0.1:0", "--certs", f"{folder}/none"]))
    test.stop(name)
    return open(f"{folder}/service.key").read()


main()
