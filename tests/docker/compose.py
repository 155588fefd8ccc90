#!/usr/bin/env python3
"""docker/compose.yaml, as a newcomer meets it: an engine of the test's own builds the images and starts the cluster; accounts are made, clients log in where the SRV records
send them, the gateways become five, a login through the fifth and a redirect to it work, one is stopped, and all of it goes. As root; cannot be skipped."""
import atexit
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "live", "lib")]
from engine import BASE, Engine, Network, base_image  # noqa: E402
from namespace import enter  # noqa: E402
from stack import Test  # noqa: E402

TOP = os.path.abspath(os.path.join(HERE, "..", ".."))
DOMAIN = "example.org"
USER = "5222"                       # of every container
SERVICES = ("registry1", "registry2", "postgres", "gateway", "im", "dns", "zone")


class Stack:
    """The cluster in its engine."""

    def __init__(self, test):
        self.test, self.place = test, tempfile.mkdtemp()    # not in the test's folder: what is mounted in here must be gone before it is removed
        self.engine, self.network = Engine(f"{self.place}/engine"), None
        self.passwords = {user: secrets.token_urlsafe(12) for user in ("alice", "bob")}
        self.began = time.monotonic()
        atexit.register(self.close)

    def step(self, what):
        print(f"   {time.monotonic() - self.began:.0f} s: {what}", flush=True)

    def close(self):
        """The containers, the engine, its mounts, its files."""
        atexit.unregister(self.close)
        if self.network is not None:
            self.engine.run("docker-compose", "-f", f"{TOP}/docker/compose.yaml", "down", "--volumes", "--timeout", "10", check=False)
        self.engine.stop()
        mounts = [line.split()[1] for line in open("/proc/mounts") if line.split()[1].startswith(self.place)]
        for mount in reversed(mounts):
            subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(self.place)
        if self.network is not None:
            self.network.close()

    def compose(self, *args, **how):
        return self.engine.run("docker-compose", "-f", f"{TOP}/docker/compose.yaml", *args, **how)

    def ctl(self, *args):
        """What ambrosiactl says, run as compose.yaml has it."""
        return json.loads(self.compose("run", "--rm", "-T", "ctl", *args, "--json"))

    def build(self):
        self.engine.start()
        self.engine.load(base_image(f"{TOP}/build/docker/base.tar"), BASE)
        self.step("base image loaded")
        self.engine.env["BUILD_NETWORK"] = "host"
        with open(f"{self.test.folder}/build.log", "w") as log:
            log.write(self.compose("--profile", "tools", "build", seconds=900))
        self.step("images built")
        self.engine.stop()

    def up(self):
        self.network = Network()
        self.engine.start(self.network)
        self.compose("up", "--detach", "--no-build", seconds=240)
        self.step("containers up")

    def containers(self, service):
        """[inspected], in the order in which they were made."""
        ids = self.compose("ps", "-q", service).split()
        return sorted(json.loads(self.engine.run("docker", "inspect", *ids)), key=lambda c: c["Created"])

    def healthy(self, service, nr):
        """Waits until so many containers of it are; True then."""
        for _ in range(120):
            states = [c["State"].get("Health", {}).get("Status") for c in self.containers(service)]
            if states == ["healthy"] * nr:
                return True
            time.sleep(0.5)
        print(f"   {service}: {states}")
        return False

    def address(self, container):
        return next(iter(container["NetworkSettings"]["Networks"].values()))["IPAddress"]

    def host(self, container):
        return f"{container['Config']['Hostname']}.gateway.{DOMAIN}"

    def inside(self, *command, text=None):
        """In the containers' network, with the zone's server as resolver."""
        resolver = f"{self.test.folder}/resolv.conf"
        with open(resolver, "w") as f:
            f.write(f"nameserver {self.address(self.containers('dns')[0])}\n")
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        done = subprocess.run([*self.network.enter, "unshare", "-m", "sh", "-c", script, resolver, *command], capture_output=True, text=True,
                              input=text, timeout=120)
        if done.returncode != 0:
            print(done.stderr[-3000:])
        return done.stdout

    def srv(self):
        """{host} that _xmpp-client points at."""
        lines = self.inside("kdig", "+short", f"_xmpp-client._tcp.{DOMAIN}", "SRV").splitlines()
        return {line.split()[3].rstrip(".") for line in lines if len(line.split()) == 4}

    def srv_becomes(self, hosts):
        for _ in range(60):
            if self.srv() == hosts:
                return True
            time.sleep(0.5)
        print(f"   SRV: {self.srv()}, not {hosts}")
        return False

    def login(self, user, *address):
        """What the client printed."""
        output = self.inside("/usr/bin/python3", f"{HERE}/client.py", f"{user}@{DOMAIN}", f"{self.test.folder}/ca.crt", *address,
                             text=self.passwords[user] + "\n")
        return json.loads(output.splitlines()[-1]) if output else {}


def how_they_run(test, stack):
    for service in SERVICES:
        inspected = stack.containers(service)
        uids = {stack.compose("exec", "-T", "--index", str(i + 1), service, "id", "-u").strip() for i in range(len(inspected))}
        test.check(f"{service}: not root, on a root that is read-only", uids == {USER} and all(c["HostConfig"]["ReadonlyRootfs"] for c in inspected))


def accounts(test, stack):
    for user, password in stack.passwords.items():
        stack.compose("exec", "-T", "postgres", "account", f"{user}@{DOMAIN}", text=password + "\n")
    with open(f"{test.folder}/ca.crt", "w") as f:
        f.write(stack.compose("exec", "-T", "gateway", "cat", "/keys/gateway/ca.crt"))


def first_day(test, stack):
    test.check("three gateways and two instances of the service are healthy", stack.healthy("gateway", 3) and stack.healthy("im", 2))
    how_they_run(test, stack)
    accounts(test, stack)
    gateways = stack.containers("gateway")
    test.check("the SRV records are the three gateways", stack.srv_becomes({stack.host(c) for c in gateways}))
    test.check("alice logs in where SRV says, and a message comes back", stack.login("alice").get("message"))
    for c in gateways:
        test.check(f"bob logs in at {stack.host(c)}", stack.login("bob", stack.host(c), "5222").get("message"))
    test.check("bob logs in at the machine's own port 5222", stack.login("bob", "127.0.0.1", "5222").get("message"))
    answer = stack.inside("kdig", "+short", f"_5222._tcp.{stack.host(gateways[0])}", "TLSA").split()
    test.check("there is a TLSA record for it", answer[:3] == ["3", "1", "1"])
    instances = {row["instance"] for row in stack.ctl("services")}
    test.check("ambrosiactl knows both instances", len(instances) == 2)


def growth(test, stack):
    before = {c["Id"] for c in stack.containers("gateway")}
    stack.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "gateway=5", seconds=240)
    test.check("the gateways are five, and healthy", stack.healthy("gateway", 5))
    gateways = stack.containers("gateway")
    test.check("the three from before are among them", before <= {c["Id"] for c in gateways})
    test.check("the SRV records follow", stack.srv_becomes({stack.host(c) for c in gateways}))
    fifth = stack.host(gateways[-1])
    answer = stack.login("alice", fifth, "5222")
    test.check("alice logs in at the fifth", answer.get("hosts") == [fifth] and answer.get("message"))
    stack.step("five gateways")
    return gateways


def redirect(test, stack, gateways):
    first, fifth = stack.host(gateways[0]), stack.host(gateways[-1])
    stack.compose("run", "--rm", "-T", "ctl", "redirect", "set", f"alice@{DOMAIN}", f"{fifth}:5222", "--for", "600")
    answer = stack.login("alice", first, "5222")
    test.check("alice is sent from the first to the fifth", answer.get("hosts") == [first, fifth] and answer.get("message"))
    test.check("bob is not", stack.login("bob", first, "5222").get("hosts") == [first])


def departure(test, stack, gateways):
    stack.engine.run("docker", "stop", "--time", "30", gateways[1]["Id"])
    test.check("a gateway that was stopped ended by itself",
               json.loads(stack.engine.run("docker", "inspect", gateways[1]["Id"]))[0]["State"]["ExitCode"] == 0)
    test.check("its SRV records go", stack.srv_becomes({stack.host(c) for c in gateways if c is not gateways[1]}))


def story(test, stack):
    stack.build()
    stack.up()
    first_day(test, stack)
    gateways = growth(test, stack)
    redirect(test, stack, gateways)
    departure(test, stack, gateways)


def main():
    enter(network=False)
    test = Test("docker.compose")
    stack = Stack(test)
    try:
        story(test, stack)
    except Exception as e:
        test.check(f"no exception ({type(e).__name__}: {e})", False)
    if test.failed:
        # before all of it goes
        print(stack.compose("logs", "--no-color", "--tail", "40", check=False) if stack.network else open(stack.engine.log).read()[-4000:])
    stack.close()
    stack.step("all gone")
    test.finish()


main()
