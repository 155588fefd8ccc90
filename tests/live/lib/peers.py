"""Stock XMPP servers as the other domain, and a local DNS server for the SRV records. For a namespace of its own (namespace.py), where every
port is the real one and nothing leaves the machine."""
import os
import subprocess
import threading

import namespace
from stack import BUILD, ready

OURS, THEIRS = "capulet.example", "montague.example"
OUR_ADDRESS, THEIR_ADDRESS = "127.0.0.1", "127.0.0.2"

PROSODY = """
daemonize = false; run_as_root = true; prosody_user = "root"; pidfile = "{place}/prosody.pid"; data_path = "{place}/data"
log = {{ {{ levels = {{ min = "debug" }}, to = "file", filename = "{place}/peer.log" }} }}
interfaces = {{ "{address}" }}; network_backend = "epoll"; use_ipv6 = false
modules_enabled = {{ "roster", "saslauth", "tls", "dialback", "disco", "presence", "message", "iq"{modules} }}
modules_disabled = {{ "s2s_auth_dane_in", "offline" }}
authentication = "internal_plain"; c2s_require_encryption = true; s2s_require_encryption = true; s2s_secure_auth = {secure}
ssl = {{ cafile = "{d}/{ca}.pem"; capath = "/nonexistent" }}
VirtualHost "{theirs}"
  ssl = {{ key = "{d}/their-certs/{theirs}.key"; certificate = "{d}/their-certs/{theirs}.crt"; cafile = "{d}/{ca}.pem"; capath = "/nonexistent" }}
"""

EJABBERD = """
hosts: ["{theirs}"]
loglevel: debug
log_rotate_count: 0
certfiles: ["{place}/{theirs}.pem"]
ca_file: "{d}/{ca}.pem"
s2s_cafile: "{d}/{ca}.pem"
s2s_use_starttls: required
auth_method: internal
auth_password_format: plain
listen:
  - {{port: 5269, ip: "{address}", module: ejabberd_s2s_in}}
  - {{port: 5222, ip: "{address}", module: ejabberd_c2s, starttls_required: true}}
modules:
  mod_disco: {{}}
  mod_roster: {{}}
  mod_s2s_dialback: {{}}
"""

# Without a node name Erlang starts no port mapper, and so leaves nothing behind.
EJABBERD_START = """
{ok, _} = application:ensure_all_started(ejabberd),
[ok = ejabberd_auth:try_register(<<"romeo">>, Domain, list_to_binary(os:getenv("ROMEO_PASSWORD"))) || Domain <- [%s]],
io:format("~nready~n").
"""


def use_resolver(test, address="127.0.0.1"):
    """The namespace's only DNS server."""
    with open(f"{test.folder}/resolv.conf", "w") as f:
        f.write(f"nameserver {address}\n")
    namespace.cover("/etc/resolv.conf", f"{test.folder}/resolv.conf")


def start_dns(test, records):
    """dnsmasq with these options; names of `example` that they don't mention do not exist."""
    use_resolver(test)
    test.start("dns", ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--listen-address=127.0.0.1", "--bind-interfaces",
                       "--local=/example/", "--user=root", "--pid-file=", "--conf-file=/dev/null", *records])


def host(name, address):
    return f"--host-record={name},{address}"


def srv(domain, target, port, service="xmpp-server"):
    return f"--srv-host=_{service}._tcp.{domain},{target},{port}"


def start_prosody(test, place, password, ca, secure, modules=()):
    """On THEIR_ADDRESS, trusting CA.pem of the test's folder; `secure`: certificates only, no dialback. `place` is a folder of its own; its peer.log is there. `modules`:
    more than the usual ones."""
    config = f"{place}/prosody.cfg.lua"
    with open(config, "w") as f:
        f.write(PROSODY.format(d=test.folder, place=place, ca=ca, secure="true" if secure else "false", theirs=THEIRS, address=THEIR_ADDRESS,
                               modules="".join(f', "{m}"' for m in modules)))
    os.mkdir(f"{place}/data")
    subprocess.run(["prosodyctl", "--root", "--config", config, "register", "romeo", THEIRS, password], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    test.start("prosody", ["prosody", "--root", "--config", config])
    namespace.listens(THEIR_ADDRESS, 5222)


def start_ejabberd(test, place, password, ca, secure):
    """The same. It has no switch against dialback but leaving the module out."""
    with open(f"{place}/{THEIRS}.pem", "w") as f:
        f.write(open(f"{test.folder}/their-certs/{THEIRS}.crt").read() + open(f"{test.folder}/their-certs/{THEIRS}.key").read())
    config = EJABBERD.format(d=test.folder, place=place, ca=ca, theirs=THEIRS, address=THEIR_ADDRESS)
    with open(f"{place}/ejabberd.yml", "w") as f:
        f.write(config.replace("  mod_s2s_dialback: {}\n", "") if secure else config)
    run_ejabberd(test, place, [THEIRS], password)


def run_ejabberd(test, place, domains, password):
    """With the ejabberd.yml of that folder, and an account for romeo at each domain; returns once it listens."""
    os.makedirs(f"{place}/mnesia", exist_ok=True)
    libraries = subprocess.run(["dpkg-architecture", "-qDEB_HOST_MULTIARCH"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    env = dict(os.environ, EJABBERD_CONFIG_PATH=f"{place}/ejabberd.yml", EJABBERD_LOG_PATH=f"{place}/peer.log", HOME=place,
               ERL_LIBS=f"/usr/lib/{libraries}", ERL_CRASH_DUMP=f"{place}/crash", ROMEO_PASSWORD=password)
    start = EJABBERD_START % ", ".join(f'<<"{domain}">>' for domain in domains)
    process = test.start("ejabberd", ["erl", "-noinput", "-mnesia", "dir", f'"{place}/mnesia"', "-eval", start], env)
    for line in process.stdout:
        if line == b"ready\n":
            drain(process)
            return
    raise RuntimeError("ejabberd did not start")


def drain(process):
    """It goes on writing to its standard output, which must not fill."""
    threading.Thread(target=process.stdout.read, daemon=True).start()


def start_ours(test, env, ca, certs, *flags, im=()):
    """The gateway on OUR_ADDRESS, trusting CA.pem of the test's folder, and the IM service behind it, with more flags for each."""
    state = f"{test.folder}/state"
    env = dict(env, SSL_CERT_FILE=f"{test.folder}/{ca}.pem", SSL_CERT_DIR=f"{test.folder}/none")
    ready(test.start("gateway", [f"{BUILD}/gateway/ambrosia-gateway", "--state-dir", state, "--c2s", f"{OUR_ADDRESS}:5222", "--c2s-direct", "none",
                                 "--s2s", f"{OUR_ADDRESS}:5269", "--public-host", OURS, "--certs", certs, *flags], env))
    ready(test.start("im", [f"{BUILD}/services/im/ambrosia-im", "--domain", OURS, "--state-dir", state, *im]))


def logged(path, text):
    with open(path, errors="replace") as f:
        return text in f.read()
