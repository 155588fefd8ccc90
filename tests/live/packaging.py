#!/usr/bin/env python3
"""The Debian packages: built, looked at by lintian, installed over a copy of this system, their units verified, and their programs run as those units say: as the
user that the package made, with the system calls, capabilities and file systems that are left to them, telling NOTIFY_SOCKET how they are. Then purged."""
import asyncio
import atexit
import glob
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
import unit  # noqa: E402
from namespace import enter  # noqa: E402
from stack import Test, login, ready, run  # noqa: E402

TOP = os.path.join(HERE, "..", "..")
UNITS = "/usr/lib/systemd/system"
STATE, REGISTRY_STATE = "/var/lib/ambrosia", "/var/lib/ambrosia-registry"
PACKAGES = {"ambrosia", "libambrosia-svcproto0", "libambrosia-svcproto-dev"}


def build(test):
    """The packages, fresh; their paths."""
    place = f"{TOP}/build/package/packages"
    shutil.rmtree(place, ignore_errors=True)
    with open(f"{test.folder}/build.log", "wb") as log:
        for command in (["cmake", "--preset", "package"], ["cmake", "--build", "--preset", "package"], ["cpack", "--preset", "package"]):
            subprocess.run(command, cwd=TOP, stdout=log, stderr=log, check=True)
    debs = glob.glob(f"{place}/*.deb")
    test.check("three packages come out", {os.path.basename(deb).split("_")[0] for deb in debs} == PACKAGES)
    return debs


def mount(*args):
    subprocess.run(["mount", *args], check=True)


class System:
    """This system with a layer of our own over it, which goes with the mount namespace. Nothing of the real one is mounted into it, and it does not stand in the
    test's folder: what is removed in here, by whatever mistake, is a copy."""

    def __init__(self):
        self.place = tempfile.mkdtemp()
        self.root = f"{self.place}/root"
        atexit.register(self.close)
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", self.place)
        for name in ("upper", "work", "root"):
            os.mkdir(f"{self.place}/{name}")
        mount("-t", "overlay", "-o", f"lowerdir=/,upperdir={self.place}/upper,workdir={self.place}/work", "overlay", self.root)
        mount("-t", "proc", "proc", f"{self.root}/proc")
        for name in ("dev", "run", "tmp"):
            mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", f"{self.root}/{name}")
        for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
            os.mknod(f"{self.root}/dev/{name}", 0o666 | stat.S_IFCHR, os.makedev(1, minor))
            os.chmod(f"{self.root}/dev/{name}", 0o666)
        for left in (STATE, REGISTRY_STATE, "/etc/ambrosia", "/etc/sasl2/xmpp.conf", "/etc/sasldb2"):
            subprocess.run(["rm", "-rf", self.root + left], check=True)

    def close(self):
        subprocess.run(["umount", "--lazy", "--recursive", self.place], check=True)
        os.rmdir(self.place)

    def run(self, *command, text=None):
        done = subprocess.run(["chroot", self.root, *command], capture_output=True, text=True, input=text, timeout=120)
        if done.returncode != 0:
            print(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done

    def does(self, *command, text=None):
        return self.run(*command, text=text).returncode == 0

    def seal(self):
        """As ProtectSystem=strict, StateDirectory= and PrivateTmp= leave it: only the state folder and /tmp can be written."""
        for folder in (STATE, REGISTRY_STATE):
            os.mkdir(self.root + folder, 0o700)
            mount("-t", "tmpfs", "-o", "mode=700", "tmpfs", self.root + folder)
            shutil.chown(self.root + folder, *(int(self.run("id", flag, "ambrosia").stdout) for flag in ("-u", "-g")))
        mount("-o", "remount,bind,ro", self.root)

    def unseal(self):
        mount("-o", "remount,bind,rw", self.root)
        subprocess.run(["umount", self.root + STATE, self.root + REGISTRY_STATE], check=True)


def install(test, system, debs):
    for deb in debs:
        shutil.copy(deb, f"{system.root}/tmp")
    names = [f"/tmp/{os.path.basename(deb)}" for deb in debs]
    test.check("dpkg installs them", system.does("dpkg", "-i", *names))
    test.check("there is a user ambrosia, in the groups of accounts and certificates",
               {"ambrosia", "sasl", "ssl-cert"} <= set(system.run("id", "-Gn", "ambrosia").stdout.split()))
    units = [f"{UNITS}/ambrosia-gateway.service", f"{UNITS}/ambrosia-registry.service", "ambrosia-im@some-domain.example.service"]
    done = system.run("systemd-analyze", "verify", *units)
    test.check("systemd-analyze verify has nothing to say", (done.returncode, done.stdout + done.stderr) == (0, ""))
    test.check("a page for each program is where man looks", all(system.does("man", "-w", f"ambrosia-{name}") for name in ("gateway", "registry", "im")))
    test.check("a service is built with what pkg-config says", system.does("sh", "-c", (
        "echo '#include <ambrosia/svcproto.h>\nint main(void) { return svcproto_strerror(0) == 0; }' > /tmp/s.c && "
        "cc /tmp/s.c $(pkg-config --cflags --libs ambrosia-svcproto) -o /tmp/s && /tmp/s")))


class Notified:
    """NOTIFY_SOCKET, in the system's /run."""

    def __init__(self, system):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(30)
        self.socket.bind(f"{system.root}/run/notify")
        os.chmod(f"{system.root}/run/notify", 0o666)
        self.environment = {"NOTIFY_SOCKET": "/run/notify"}

    def hears(self, what):
        return self.socket.recv(4096) == what.encode()


def start(test, system, notified, name, unit_name, instance=""):
    ports = ready(unit.start(test, name, system.root, f"{UNITS}/{unit_name}", instance, notified.environment))
    test.check(f"{name}: READY=1", notified.hears("READY=1"))
    return ports


def stop(test, notified, name):
    test.check(f"{name}: ends with status 0 at SIGTERM", test.stop(name) == 0)
    test.check(f"{name}: STOPPING=1", notified.hears("STOPPING=1"))


def registry(test, system, notified):
    start(test, system, notified, "registry", "ambrosia-registry.service")
    stop(test, notified, "registry")


async def drain(test, alice):
    """SIGTERM at the gateway: alice is told before it ends."""
    told = asyncio.get_event_loop().create_future()
    alice.add_event_handler("stream_error", lambda e: told.done() or told.set_result(e["condition"]))
    test.programs["gateway"].terminate()
    test.check("the gateway's SIGTERM is a stream error for alice", await asyncio.wait_for(told, 30) == "system-shutdown")


async def story(test, system, password):
    alice, how = await login("alice@localhost", password, f"{system.root}{STATE}/self-signed.crt", ("127.0.0.1", 5222))
    test.check("alice, who is in /etc/sasldb2, logs in", how == "in")
    await drain(test, alice)


def main():
    enter()
    test = Test("live.packaging")
    debs = build(test)
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error", *debs], capture_output=True, text=True)
    print(done.stdout, end="")
    test.check("lintian finds no error", done.returncode == 0)
    system = System()
    install(test, system, debs)
    test.check("an account", system.does("saslpasswd2", "-p", "-c", "-u", "localhost", "alice", text="password of alice"))
    shutil.chown(f"{system.root}/etc/sasldb2", "root", "sasl")
    os.chmod(f"{system.root}/etc/sasldb2", 0o660)
    os.mkdir(f"{system.root}/etc/ambrosia")
    with open(f"{system.root}/etc/ambrosia/gateway.environment", "w") as f:
        f.write("AMBROSIA_PUBLIC_HOST=localhost\n")
    system.seal()
    notified = Notified(system)
    registry(test, system, notified)
    start(test, system, notified, "gateway", "ambrosia-gateway.service")
    start(test, system, notified, "im", "ambrosia-im@.service", "localhost")
    test.check("the service's database is in the state folder", os.path.exists(f"{system.root}{STATE}/im-localhost.sqlite"))
    run(test, story(test, system, "password of alice"))
    stop(test, notified, "gateway")
    stop(test, notified, "im")
    system.unseal()
    test.check("a purge takes all", system.does("dpkg", "-P", *PACKAGES) and not glob.glob(f"{system.root}/var/lib/ambrosia*")
               and not glob.glob(f"{system.root}/usr/*bin/ambrosia*"))
    test.finish()


main()
