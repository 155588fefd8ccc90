"""A PostgreSQL of the test's own: its folder, its unix socket and nothing else; it runs as the user postgres, since it refuses root."""
import glob
import os
import pwd
import secrets
import shutil
import subprocess

from sasl import write

SETPRIV = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


class Postgres:
    def __init__(self, test):
        self.test, self.folder, self.password = test, f"{test.folder}/postgres", secrets.token_hex(12)
        self.bin = max(glob.glob("/usr/lib/postgresql/*/bin"))
        os.chmod(test.folder, 0o711)
        os.mkdir(self.folder)
        secret = write(f"{self.folder}/password", self.password)
        for path in (self.folder, secret):
            shutil.chown(path, "postgres", pwd.getpwnam("postgres").pw_gid)
        subprocess.run([*SETPRIV, f"{self.bin}/initdb", "--no-sync", "-D", f"{self.folder}/data", "-U", "gateway", "-A", "scram-sha-256",
                        f"--pwfile={secret}", "--locale=C.UTF-8"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        self.env = dict(os.environ, PGHOST=self.folder, PGUSER="gateway", PGDATABASE="postgres",
                        PGPASSFILE=write(f"{test.folder}/pgpass", f"*:*:*:gateway:{self.password}\n"))

    def start(self):
        self.test.start("postgres", [*SETPRIV, f"{self.bin}/postgres", "-D", f"{self.folder}/data", "-k", self.folder, "-c", "listen_addresses=",
                                     "-c", "fsync=off"])
        subprocess.run([f"{self.bin}/pg_isready", "-q", "-t", "30"], env=self.env, timeout=60)
        while subprocess.run([f"{self.bin}/pg_isready", "-q"], env=self.env).returncode != 0:
            if self.test.programs["postgres"].poll() is not None:
                raise RuntimeError("PostgreSQL did not start")

    def stop(self):
        self.test.stop("postgres")

    def psql(self, text):
        """What the statements print, unaligned."""
        return subprocess.run(["psql", "-qAtX", "-v", "ON_ERROR_STOP=1"], input=text, env=self.env, check=True, capture_output=True, text=True).stdout.strip()

    def session(self):
        """A psql to write statements to, for a transaction that stays open."""
        return subprocess.Popen(["psql", "-qAtX"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.env, text=True)
