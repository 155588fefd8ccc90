"""The servers under load, each with its default settings but for what the load needs, on free loopback ports, in a folder of the run's own."""
import gzip
import os
import re
import resource
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "..", "live", "lib"))
from stack import curve_key  # noqa: E402

DOMAIN, SECOND = "bench.example", "other.example"
LARGE = 2 << 20


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
READY_S = 60   # a program that has not said by then that it serves is ended
DIES_WITH_US = ("setpriv", "--pdeathsig", "TERM")   # whatever ends this one ends also what it started


class Place:
    """The folder, the authority that the load trusts, a certificate for each domain, and the accounts."""

    def __init__(self, folder, users):
        self.folder, self.users, self.password = folder, users, secrets.token_hex(12)
        self.ca = f"{folder}/ca.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{folder}/ca.key", "-out", self.ca,
                "-days", "2", "-subj", "/CN=bench")
        os.mkdir(f"{folder}/certs")
        for domain in (DOMAIN, SECOND):
            self.certificate(domain)

    def certificate(self, domain):
        into = f"{self.folder}/certs/{domain}"
        with open(f"{self.folder}/extensions", "w") as f:
            f.write(f"subjectAltName=DNS:{domain}\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{into}.key", "-out", f"{self.folder}/request",
                "-subj", f"/CN={domain}")
        openssl("x509", "-req", "-in", f"{self.folder}/request", "-CA", self.ca, "-CAkey", f"{self.folder}/ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", f"{self.folder}/extensions", "-out", f"{into}.crt")

    def names(self):
        return (f"u{i}" for i in range(self.users))


class Stack:
    """What runs: `processes` maps a part's name to its Popen; `ports` are where clients connect."""

    name = "?"

    one_hash = False   # of a password: then a mechanism with another hash takes a start of its own
    logouts_break_logins = False   # who comes while others go may be turned away
    mechanism = None   # the only one that it has; None: those of the load

    def __init__(self, place, build):
        self.place, self.build = place, build
        self.folder = f"{place.folder}/{self.name}-{secrets.token_hex(3)}"
        os.mkdir(self.folder)
        self.processes, self.ports = {}, []

    def spawn(self, part, args, env=None, ready=None):
        """Starts a part; with `ready`, returns its first line that begins so, and lets it write on."""
        log = open(f"{self.folder}/{part}.log", "ab")
        process = subprocess.Popen([*DIES_WITH_US, *args], env=dict(os.environ, **(env or {})), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if ready else log,
                                   stderr=log, text=True, cwd=self.folder)
        self.processes[part] = process
        if ready is None:
            return None
        late = threading.Timer(READY_S, process.kill)
        late.start()
        try:
            for line in process.stdout:
                if line.startswith(ready):
                    threading.Thread(target=process.stdout.read, daemon=True).start()
                    return line
        finally:
            late.cancel()
        raise SystemExit(f"bench: {self.name}'s {part} did not start; its log:\n" + open(log.name, errors="replace").read()[-3000:])

    def listening(self, port, seconds=60):
        for _ in range(seconds * 20):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            for part, process in self.processes.items():
                if process.poll() is not None:
                    raise SystemExit(f"bench: {self.name}'s {part} ended with status {process.returncode}; see {self.folder}")
            time.sleep(0.05)
        raise SystemExit(f"bench: {self.name} does not listen")

    def says(self, part, text, seconds=30):
        """Waits until its log file does."""
        for _ in range(seconds * 20):
            try:
                if text in open(f"{self.folder}/{part}.log", errors="replace").read():
                    return
            except FileNotFoundError:
                pass
            time.sleep(0.05)
        raise SystemExit(f"bench: {self.name}'s {part} did not say {text}; see {self.folder}")

    def stop(self):
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = {}


class Ours(Stack):
    name = "ambrosia"
    workers = None

    def accounts(self, domains):
        sasl = f"{self.folder}/sasl"
        os.mkdir(sasl)
        rows = "".join(f"INSERT INTO account(username, realm, userPassword) VALUES('{u}','{d}','{self.place.password}');" for d in domains for u in self.place.names())
        subprocess.run(["sqlite3", f"{self.folder}/accounts.sqlite"], check=True, text=True,
                       input="BEGIN; CREATE TABLE account(username text, realm text, userPassword text, authPassword text, cmusaslsecretPLAIN text,"
                             " PRIMARY KEY(username, realm));" + rows + "COMMIT;")
        with open(f"{sasl}/xmpp.conf", "w") as f:
            f.write("pwcheck_method: auxprop\nauxprop_plugin: sql\nmech_list: SCRAM-SHA-256 SCRAM-SHA-1 PLAIN\nsql_engine: sqlite3\n"
                    f"sql_database: {self.folder}/accounts.sqlite\nsql_select: SELECT \"%p\" FROM account WHERE username = '%u' AND realm = '%r'\n")
        return {"SASL_CONF_PATH": sasl}

    def start(self, domain=DOMAIN, number=0):
        """`number` above 0: with server streams, on 127.0.0.NUMBER."""
        env = dict(self.accounts((domain,)), SSL_CERT_FILE=self.place.ca, SSL_CERT_DIR="/nonexistent")
        s2s = f"127.0.0.{number}:5269" if number else "none"
        state = f"{self.folder}/state"
        workers = [] if self.workers is None else ["--workers", str(self.workers)]
        line = self.spawn("gateway", [f"{self.build}/gateway/ambrosia-gateway", "--state-dir", state, "--certs", f"{self.place.folder}/certs", "--c2s", "127.0.0.1:0",
                                      "--c2s-direct", "none", "--s2s", s2s, "--s2s-direct", "none", "--svc", "tcp://127.0.0.1:0", "--registry-bind", "tcp://127.0.0.1:0",
                                      "--http", "none", "--public-host", "localhost", "--log-level", "warn", "--stanza-max", str(LARGE), *workers], env, "ready")
        self.ports = [int(dict(word.split("=", 1) for word in line.split()[1:])["c2s"].rpartition(":")[2])]
        self.spawn("im", [f"{self.build}/services/im/ambrosia-im", "--domain", domain, "--state-dir", state, "--log-level", "warn"], None, "ready")


class OurCluster(Ours):
    """A registry, any number of gateways with a worker each, the IM service, and echo services with domains of their own as company."""
    name = "ambrosia-cluster"

    def start(self, gateways, services):
        env = dict(self.accounts((DOMAIN,)), SSL_CERT_FILE=self.place.ca, SSL_CERT_DIR="/nonexistent")
        members = ["gateway"] + [f"service{i}" for i in range(services)]
        with open(os.open(f"{self.folder}/authorized_keys", os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write("# serial 1\n")
            for member in members:
                role = "gateway" if member == "gateway" else f"service {DOMAIN if member == 'service0' else member + '.example'}:client,server"
                f.write(f"{curve_key(f'{self.folder}/{member}.key')} {role}\n")
        with open(os.open(f"{self.folder}/master", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.write(os.urandom(48))
        words = dict(word.split("=", 1) for word in self.spawn(
            "registry", [f"{self.build}/registry/ambrosia-registry", "--state-dir", f"{self.folder}/registry", "--bind", "tcp://127.0.0.1:0", "--http", "none",
                         "--authorized-keys", f"{self.folder}/authorized_keys", "--master", f"{self.folder}/master", "--log-level", "warn"], None, "ready").split()[1:])
        registry = f"{words['registry']}={words['key']}"
        for i in range(gateways):
            line = self.spawn(f"gateway{i}", [
                f"{self.build}/gateway/ambrosia-gateway", "--registry", registry, "--key", f"{self.folder}/gateway.key", "--state-dir", f"{self.folder}/gateway{i}",
                "--workers", "1", "--c2s", "127.0.0.1:0", "--c2s-direct", "none", "--s2s", "none", "--s2s-direct", "none", "--svc", "tcp://127.0.0.1:0", "--http", "none",
                "--public-host", "localhost", "--certs", f"{self.place.folder}/certs", "--log-level", "warn"], env, "ready")
            self.ports.append(int(dict(word.split("=", 1) for word in line.split()[1:])["c2s"].rpartition(":")[2]))
        for i in range(services):
            key = ["--registry", registry, "--key", f"{self.folder}/service{i}.key", "--log-level", "warn"]
            if i == 0:
                self.spawn("im", [f"{self.build}/services/im/ambrosia-im", "--domain", DOMAIN, "--database", f"{self.folder}/im.sqlite", *key], None, "ready")
            else:
                self.spawn(f"echo{i}", [f"{self.build}/services/echo/ambrosia-echo", "--domain", f"service{i}.example", *key], None, "ready")


class Prosody(Stack):
    name = "prosody"
    one_hash = True
    CONFIG = """
daemonize = false; run_as_root = true; prosody_user = "root"; pidfile = "{folder}/prosody.pid"; data_path = "{folder}/data"
log = {{ {{ levels = {{ min = "warn" }}, to = "file", filename = "{folder}/peer.log" }} }}
c2s_interfaces = {{ "127.0.0.1" }}; s2s_interfaces = {{ "{address}" }}; c2s_ports = {{ {c2s} }}; c2s_direct_tls_ports = {{ }}; s2s_ports = {{ {s2s} }}; network_backend = "epoll"; use_ipv6 = false
modules_enabled = {{ "roster", "saslauth", "tls", "dialback", "disco", "presence", "message", "iq", "smacks" }}
authentication = "internal_hashed"; password_hash = "{hash}"; c2s_require_encryption = true; s2s_require_encryption = true
network_settings = {{ tcp_backlog = 4096 }}
ssl = {{ cafile = "{ca}"; capath = "/nonexistent" }}
c2s_stanza_size_limit = {large}; s2s_stanza_size_limit = {large}
VirtualHost "{domain}"
  ssl = {{ key = "{certs}/{domain}.key"; certificate = "{certs}/{domain}.crt"; cafile = "{ca}"; capath = "/nonexistent" }}
"""

    def start(self, domain=DOMAIN, number=0, hash="SHA-1"):
        c2s, s2s = free_port(), 5269 if number else free_port()
        config = f"{self.folder}/prosody.cfg.lua"
        with open(config, "w") as f:
            f.write(self.CONFIG.format(folder=self.folder, c2s=c2s, s2s=s2s, certs=f"{self.place.folder}/certs", domain=domain, large=LARGE, ca=self.place.ca,
                                       address=f"127.0.0.{number or 1}", hash=hash))
        accounts = f"{self.folder}/data/{domain.replace('.', '%2e')}/accounts"
        os.makedirs(accounts)
        for name in self.place.names():   # the form with a plain password is hashed at the first login
            with open(f"{accounts}/{name}.dat", "w") as f:
                f.write(f'return {{ ["password"] = "{self.place.password}"; }};\n')
        self.spawn("prosody", ["prosody", "--root", "--config", config])
        self.listening(c2s)
        self.ports = [c2s]


class Ejabberd(Stack):
    name = "ejabberd"
    one_hash = True
    CONFIG = """
hosts: ["{domain}"]
loglevel: warning
log_rotate_count: 0
certfiles: ["{folder}/{domain}.pem"]
auth_method: internal
auth_password_format: scram
auth_scram_hash: {hash}
listen:
  - {{port: {c2s}, ip: "127.0.0.1", module: ejabberd_c2s, starttls_required: true, max_stanza_size: {large}, backlog: 4096}}
modules:
  mod_disco: {{}}
  mod_roster: {{}}
  mod_stream_mgmt: {{}}
shaper_rules: {{c2s_shaper: none}}
"""
    START = """{ok, _} = application:ensure_all_started(ejabberd),
[ok = ejabberd_auth:try_register(iolist_to_binary([$u, integer_to_list(N)]), <<"%s">>, list_to_binary(os:getenv("BENCH_PASSWORD"))) || N <- lists:seq(0, %d)],
io:format("~nready~n")."""

    def start(self, domain=DOMAIN, hash="SHA-1"):
        c2s = free_port()
        certs = f"{self.place.folder}/certs/{domain}"
        with open(f"{self.folder}/{domain}.pem", "w") as f:
            f.write(open(f"{certs}.crt").read() + open(f"{certs}.key").read())
        with open(f"{self.folder}/ejabberd.yml", "w") as f:
            f.write(self.CONFIG.format(folder=self.folder, domain=domain, c2s=c2s, large=LARGE, hash=hash.replace("-1", "").replace("-", "").lower()))
        os.mkdir(f"{self.folder}/mnesia")
        machine = subprocess.run(["dpkg-architecture", "-qDEB_HOST_MULTIARCH"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        env = dict(EJABBERD_CONFIG_PATH=f"{self.folder}/ejabberd.yml", EJABBERD_LOG_PATH=f"{self.folder}/peer.log", HOME=self.folder,
                   ERL_LIBS=f"/usr/lib/{machine}", ERL_CRASH_DUMP=f"{self.folder}/crash", BENCH_PASSWORD=self.place.password)
        self.spawn("ejabberd", ["erl", "-noinput", "+K", "true", "+P", "250000", "-mnesia", "dir", f'"{self.folder}/mnesia"', "-eval",
                                self.START % (domain, self.place.users - 1)], env, "ready")
        self.listening(c2s)
        self.ports = [c2s]


class Jabberd2(Stack):
    """From Debian's own configuration files: what they say is changed where the load needs it. A session's name is its descriptor: what is still said of
    the last client that had it ends the next one's login, with internal-server-error, also when logins come one after the other."""
    name = "jabberd2"
    logouts_break_logins = True

    def edited(self, name, *changes):
        text = re.sub(r"<!--.*?-->", "", open(f"/etc/jabberd2/{name}").read(), flags=re.S)
        for pattern, by in (("/var/run/jabberd2", self.folder), ("/var/log/jabberd2", self.folder), ("/var/lib/jabberd2", self.folder),
                            (r"<max_fds>\d+", f"<max_fds>{resource.getrlimit(resource.RLIMIT_NOFILE)[1]}"), ("5347", str(self.router)), ("localhost\\.localdomain", DOMAIN),
                            ("/etc/jabberd2/router-users.xml", f"{self.folder}/router-users.xml"), *changes):
            text = re.sub(pattern, by, text)
        with open(f"{self.folder}/{name}", "w") as f:
            f.write(text)

    def start(self, domain=DOMAIN):
        c2s, self.router = free_port(), free_port()
        certs = f"{self.place.folder}/certs/{domain}"
        with open(f"{self.folder}/{domain}.pem", "w") as f:
            f.write(open(f"{certs}.crt").read() + open(f"{certs}.key").read())
        self.edited("router.xml")
        self.edited("router-users.xml")
        self.edited("sm.xml", (r"<user>(?=\s)", "<user><auto-create/>"))
        self.edited("c2s.xml", (rf"<id[^>]*>{DOMAIN}</id>", f"<id pemfile='{self.folder}/{domain}.pem' require-starttls='mu'>{DOMAIN}</id>"), (r"<ip>0.0.0.0</ip>", "<ip>127.0.0.1</ip>"),
                    ("<port>5222</port>", f"<port>{c2s}</port>"), (r"<stanzasize>\d+", f"<stanzasize>{LARGE}"), (r"<stanzas>\d+", "<stanzas>0"),
                    (r"<plain/>\s*<external/>", "<plain/><scram-sha-1/><scram-sha-256/>"))
        schema = gzip.open("/usr/share/doc/jabberd2/db-setup.sqlite.gz", "rt").read()
        rows = "".join(f"INSERT INTO authreg(username, realm, password) VALUES('{u}','{DOMAIN}','{self.place.password}');" for u in self.place.names())
        subprocess.run(["sqlite3", f"{self.folder}/sqlite.db"], check=True, text=True, stdout=subprocess.DEVNULL, input=f"{schema}\nBEGIN;{rows}COMMIT;")
        for part in ("router", "sm", "c2s"):
            self.spawn(part, [f"/usr/sbin/jabberd2-{part}", "-c", f"{self.folder}/{part}.xml"])
            self.says("router" if part == "sm" else part, {"router": "listening", "sm": f"[{domain}] online", "c2s": "listening"}[part])
        self.listening(c2s)
        self.ports = [c2s]


class Floor(Stack):
    """No server: the least that passing a message on takes (tests/bench/floor/relay.c), in one process."""
    name = "floor"
    mode, mechanism = "direct", "PLAIN"

    def start(self):
        certificate = f"{self.place.folder}/certs/{DOMAIN}"
        line = self.spawn("gateway", [f"{self.build}/tests/bench/bench_relay", self.mode, f"{certificate}.crt", f"{certificate}.key"], None, "ready")
        words = dict(word.split("=", 1) for word in line.split()[1:])
        self.ports = [int(words["c2s"])]
        return words


class FloorLink(Floor):
    """The same in two processes, each named as the part of ours in whose place it stands."""
    name = "floor-link"
    mode = "link"

    def start(self):
        words = super().start()
        self.spawn("im", [f"{self.build}/tests/bench/bench_relay", "service", words["link"], words["key"]], None, "ready")


STACKS = {stack.name: stack for stack in (Ours, Floor, FloorLink, Prosody, Ejabberd, Jabberd2)}
