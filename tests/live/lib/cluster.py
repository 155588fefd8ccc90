"""The programs of a cluster: registries, gateways and services as processes, their keys, and what each of them knows."""
import asyncio
import json
import os
import signal
import subprocess
import time

from registry_view import View
from stack import BUILD, accounts, authority, certificate, curve_key, ready, replace_file, word_in

IM, ECHO, CTL = f"{BUILD}/services/im/ambrosia-im", f"{BUILD}/services/echo/ambrosia-echo", f"{BUILD}/services/ctl/ambrosiactl"


async def until(holds, seconds=20):
    """True as soon as it holds; `holds` is cheap, or looks at something that changes by itself."""
    for _ in range(seconds * 10):
        if holds():
            return True
        await asyncio.sleep(0.1)
    return False


async def wait_ready(process):
    return await asyncio.get_event_loop().run_in_executor(None, ready, process)


def one_service(test, domain, users):
    """A cluster that is authorised for gateways, an administrator and one service of this domain, whose key is "im"."""
    c = Cluster(test, [domain], users, {"gateway": "gateway", "admin": "admin", "im": f"service {domain}:client,server"})
    c.authorise()
    return c


class Cluster:
    """`members`: {name of a key: its line in authorized_keys behind the key}. `place(name)` gives (words before the command, address) of a program."""

    def __init__(self, test, domains, users, members, place=lambda name: ([], "127.0.0.1")):
        self.test, self.folder, self.place = test, test.folder, place
        self.env, self.passwords = accounts(test, domains[0], users)
        authority(self.folder, "ca")
        self.trust, self.members, self.serial = f"{self.folder}/ca.pem", members, 0
        for domain in domains:
            certificate(self.folder, "ca", domain, f"{self.folder}/certs")
        self.keys = {name: curve_key(f"{self.folder}/{name}.key") for name in members}
        with open(os.open(f"{self.folder}/master", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.write(os.urandom(48))
        self.registries, self.ports = {}, {}

    def account(self, user, domain, password):
        subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{self.folder}/sasldb2", "-u", domain, user], input=password.encode(), check=True, env=self.env)

    def authorise(self, *without):
        """authorized_keys of all registries, but for the names given."""
        self.serial += 1
        text = f"# serial {self.serial}\n" + "".join(f"{self.keys[name]} {line}\n" for name, line in self.members.items() if name not in without)
        replace_file(f"{self.folder}/authorized_keys", text)

    def start(self, name, *command):
        before, _ = self.place(name)
        return self.test.start(name, [*before, *command], self.env)

    def start_registry(self, name):
        """At the place where it was, if it was."""
        bind = self.registries[name][:-41] if name in self.registries else f"tcp://{self.place(name)[1]}:0"
        words = ready(self.start(name, f"{BUILD}/registry/ambrosia-registry", "--state-dir", f"{self.folder}/{name}", "--bind", bind,
                                 "--authorized-keys", f"{self.folder}/authorized_keys", "--master", f"{self.folder}/master"))
        self.registries[name] = f"{words['registry']}={words['key']}"

    def known(self):
        return ",".join(self.registries.values())

    def start_gateway(self, name, *flags):
        """Again at its endpoint for services, so that they find it though nobody tells."""
        address = self.place(name)[1]
        svc = self.ports[name]["svc"] if name in self.ports else f"tcp://{address}:0"
        self.ports[name] = ready(self.start(
            name, f"{BUILD}/gateway/ambrosia-gateway", "--registry", self.known(), "--key", f"{self.folder}/gateway.key", "--state-dir",
            f"{self.folder}/{name}", "--workers", "1", "--c2s", f"{address}:0", "--c2s-direct", f"{address}:0", "--s2s", f"{address}:0",
            "--s2s-direct", "none", "--svc", svc, "--public-host", f"{name}.example", "--certs", f"{self.folder}/certs", *flags))

    def start_im(self, name, key, *flags):
        return self.start(name, IM, "--registry", self.known(), "--key", f"{self.folder}/{key}.key", "--database", f"{self.folder}/{name}.sqlite", *flags)

    async def start_linked_im(self, domain, registry, gateways):
        """The only service; its key is "im". Goes on when the gateways, all there are, know of it."""
        mark = len(self.log("im")) if os.path.exists(f"{self.folder}/im.log") else 0
        await wait_ready(self.start_im("im", "im", "--domain", domain))
        self.test.check(f"the service is linked to {len(gateways)} gateways", await word_in(f"{self.folder}/im.log", f"gateways={len(gateways)}", start=mark))
        self.test.check("and all know its domain", await self.same_views((registry,), gateways))

    def start_echo(self, name, key, *flags):
        return self.start(name, ECHO, "--registry", self.known(), "--key", f"{self.folder}/{key}.key", *flags)

    def kill(self, name):
        """Without a word."""
        process = self.test.programs.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        process.stdout.close()

    def log(self, name):
        return open(f"{self.folder}/{name}.log", errors="replace").read()

    def c2s(self, gateway):
        return self.place(gateway)[1], int(self.ports[gateway]["c2s"])

    def registry_view(self, name, key="admin"):
        view = View(self.registries[name], f"{self.folder}/{key}.key")
        found = view.snapshot()
        view.close()
        return found

    def gateway_view(self, gateway, key="admin"):
        """The registrations that a gateway knows, as (domain, instance), or None."""
        before, _ = self.place(gateway)
        done = subprocess.run([*before, CTL, "--registry", self.known(), "--key", f"{self.folder}/{key}.key", "--gateway", self.ports[gateway]["svc"],
                               "--json", "services"], capture_output=True, text=True, timeout=60, env=self.env)
        return sorted((row["domain"], row["instance"]) for row in json.loads(done.stdout)) if done.returncode == 0 else None

    async def same_views(self, registries, gateways, seconds=30):
        """True once the registries know the same gateways and registrations in the same versions, and the gateways know these registrations."""
        told = {}

        def same():
            told.clear()
            for name in registries:
                told[name] = self.registry_view(name)
            if None in told.values():
                return False
            entries = told[registries[0]][1]
            registrations = sorted((name, owner) for kind, name, owner in entries if kind == "registration")
            for name in gateways:
                told[name] = self.gateway_view(name)
            endpoints = {name for kind, name, _ in entries if kind == "gateway"}
            return all(told[name] == told[registries[0]] for name in registries) and all(told[name] == registrations for name in gateways) and \
                all(self.ports[name]["svc"] in endpoints for name in gateways)

        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if await asyncio.get_event_loop().run_in_executor(None, same):
                return True
            await asyncio.sleep(0.5)
        for name, view in told.items():
            print(f"   {name}: {view}", flush=True)
        return False
