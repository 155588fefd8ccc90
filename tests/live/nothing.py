#!/usr/bin/env python3
"""Nothing configured means nothing: a stock /etc, an empty /var/lib, the real ports, and both programs with no argument but the domain. As root, as root where
the user `ambrosia` exists, as a user with a state folder of their own, and on a system without IPv6. In a network and mount namespace of its own."""
import asyncio
import ctypes
import os
import platform
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
from stack import BUILD, Test, arrives, login, ready, run  # noqa: E402

DOMAIN = "localhost"
USERS = {"ambrosia": 4201, "newcomer": 4202}


def into_namespace():
    if os.environ.get("AMBROSIA_TEST_NAMESPACE") != "1":
        os.execvpe("unshare", ["unshare", "-n", "-m", sys.executable, os.path.abspath(__file__)], dict(os.environ, AMBROSIA_TEST_NAMESPACE="1"))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def mount(*args):
    subprocess.run(["mount", *args], check=True)


def stock_system(folder):
    """Over /etc a copy without anything of ours, of SASL's or of anybody's certificates, and /var/lib and /home empty. What Debian's sasl2-bin and ssl-cert leave
    behind is there: an empty user database for the group sasl, and a key without a certificate beside it."""
    etc = f"{folder}/etc"
    shutil.copytree("/etc", etc, symlinks=True, ignore=lambda at, names: [n for n in names if n in ("ambrosia", "letsencrypt", "sasl2", "sasldb2", "sasl")])
    for name in ("passwd", "group"):
        with open(f"{etc}/{name}") as f:
            kept = [line for line in f if line.split(":")[0] not in USERS]
        with open(f"{etc}/{name}", "w") as f:
            f.writelines(kept)
    shutil.rmtree(f"{etc}/ssl/private", ignore_errors=True)
    os.makedirs(f"{etc}/ssl/private", 0o711)
    subprocess.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-out", f"{etc}/ssl/private/ssl-cert-snakeoil.key"], check=True)
    with open(f"{etc}/resolv.conf", "w") as f:
        f.write("nameserver 127.0.0.1\n")
    mount("--bind", etc, "/etc")
    for path in ("/var/lib", "/home"):
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", path)
    account("nobody-yet", "x")
    subprocess.run(["saslpasswd2", "-d", "-u", DOMAIN, "nobody-yet"], check=True)
    os.chown("/etc/sasldb2", 0, group_id("sasl"))
    os.chmod("/etc/sasldb2", 0o660)


def account(user, password):
    subprocess.run(["saslpasswd2", "-p", "-c", "-u", DOMAIN, user], input=password.encode(), check=True)


def group_id(name):
    import grp
    return grp.getgrnam(name).gr_gid


def add_user(name):
    """As `adduser --system` and `adduser NAME sasl` do it."""
    uid = USERS[name]
    with open("/etc/passwd", "a") as f:
        f.write(f"{name}:x:{uid}:{uid}::/home/{name}:/usr/sbin/nologin\n")
    with open("/etc/group") as f:
        lines = [re.sub(r"(,?)$", rf",{name}" if line[-2] != ":" else name, line.rstrip("\n")) + "\n" if line.startswith("sasl:") else line for line in f]
    with open("/etc/group", "w") as f:
        f.writelines(lines + [f"{name}:x:{uid}:\n"])
    os.mkdir(f"/home/{name}", 0o700)
    os.chown(f"/home/{name}", uid, uid)


def programs(folder):
    """The programs and the sanitizers' lists where every user may read them, and an environment that configures nothing."""
    for name in (f"{BUILD}/gateway/ambrosia-gateway", f"{BUILD}/services/im/ambrosia-im", f"{HERE}/../lsan.supp", f"{HERE}/../tsan.supp"):
        shutil.copy(name, folder)
    env = {"PATH": os.environ["PATH"], "LSAN_OPTIONS": f"suppressions={folder}/lsan.supp:print_suppressions=0",
           "TSAN_OPTIONS": f"suppressions={folder}/tsan.supp history_size=4"}
    return env


def without_ipv6():
    """In the child: socket(AF_INET6, …) says EAFNOSUPPORT, as where the kernel has no IPv6 at all."""
    number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
    code = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16), (0x15, 0, 1, socket.AF_INET6),
            (0x06, 0, 0, 0x00050000 | 97), (0x06, 0, 0, 0x7FFF0000)]  # load nr; is it socket; load the family; refuse; allow
    filters = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(filters)
    program = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) != 0:  # no new privileges; this filter
        os._exit(99)


def start(test, env, name, args, user=None, preexec=None):
    as_user = {"user": USERS[user], "group": USERS[user], "extra_groups": [group_id("sasl")]} if user else {}
    home = f"/home/{user}" if user else "/root"
    with open(f"{test.folder}/{name}.log", "wb") as log:
        test.programs[name] = subprocess.Popen([f"{test.folder}/ambrosia-{name}", *args], stdout=subprocess.PIPE, stderr=log, env=dict(env, HOME=home),
                                               preexec_fn=preexec, cwd="/", **as_user)
    return test.programs[name]


def log_of(test, name):
    with open(f"{test.folder}/{name}.log", errors="replace") as f:
        return f.read()


def listens_on_ipv4_alone(port):
    def listens(path):
        return os.path.exists(path) and any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in open(path).readlines()[1:])
    return listens("/proc/net/tcp") and not listens("/proc/net/tcp6")


def uids(process):
    return {word for line in open(f"/proc/{process.pid}/status") if line.startswith("Uid:") for word in line.split()[1:]}


async def story(test, how, password, ca):
    alice, outcome = await login(f"alice@{DOMAIN}", password, ca, ("127.0.0.1", 5222))
    test.check(f"{how}: alice logs in at the default port and verifies the certificate that the warning names", outcome == "in")
    alice.send_message(f"alice@{DOMAIN}", "To thine own self")
    test.check(f"{how}: a message to herself arrives", await arrives(alice, (f"alice@{DOMAIN}", "To thine own self")))
    alice.disconnect()
    await asyncio.sleep(0)


def direct_tls(ca):
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["xmpp-client"])
    with socket.create_connection(("127.0.0.1", 5223), 10) as raw, context.wrap_socket(raw, server_hostname=DOMAIN) as tls:
        return tls.version()


def play(test, env, how, password, state, user=None, preexec=None):
    gateway = start(test, env, "gateway", [], user, preexec)
    ports = ready(gateway)
    test.check(f"{how}: the ports are the standards' own", [ports[name] for name in ("c2s", "c2s-direct", "s2s", "s2s-direct")] ==
               ["5222", "5223", "5269", "5270"])
    im = start(test, env, "im", ["--domain", DOMAIN], user, preexec)
    ready(im)
    named = re.search(r" self-signed file=(\S+)", log_of(test, "gateway"))
    test.check(f"{how}: the warning names the certificate, in {state}", named and named.group(1) == f"{state}/self-signed.crt")
    run(test, story(test, how, password, named.group(1)))
    test.check(f"{how}: direct TLS verifies the same certificate", direct_tls(named.group(1)) == "TLSv1.3")
    who = {"Uid": (uids(gateway), uids(im))}
    if preexec:
        test.check(f"{how}: it listens on 0.0.0.0", all(listens_on_ipv4_alone(port) for port in (5222, 5269, 5270)))
    for name in ("im", "gateway"):
        test.check(f"{how}: {name} ends with status 0 at SIGTERM", test.stop(name) == 0)
    return who["Uid"]


def main():
    into_namespace()
    test = Test("live.nothing")
    os.chmod(test.folder, 0o755)
    stock_system(test.folder)
    env = programs(test.folder)
    account("alice", "password of alice")
    state = "/var/lib/ambrosia"
    test.check("root: both stay root, since there is nobody to become", play(test, env, "root", "password of alice", state) == ({"0"}, {"0"}))
    test.check("root: it says so", "running_as_root" in log_of(test, "gateway"))
    add_user("ambrosia")
    both = {str(USERS["ambrosia"])}
    test.check("user ambrosia: both become that user", play(test, env, "user ambrosia", "password of alice", state) == (both, both))
    test.check("user ambrosia: what root made before is that user's now",
               all(os.stat(f"{state}/{name}").st_uid == USERS["ambrosia"] for name in os.listdir(state)))
    add_user("newcomer")
    own = f"/home/newcomer/.local/state/ambrosia"
    both = {str(USERS["newcomer"])}
    test.check("own folder: both run as who started them", play(test, env, "own folder", "password of alice", own, "newcomer") == (both, both))
    play(test, env, "no IPv6", "password of alice", own, "newcomer", without_ipv6)
    test.finish()


main()
