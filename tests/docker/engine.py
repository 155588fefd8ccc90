"""A Docker engine of the test's own: it keeps everything in one folder, touches no firewall and no other engine, and runs in the mount namespace of the test. The
images are built in the network that there is; the containers run in a network namespace where there is nothing else."""
import os
import subprocess
import time

BASE = "debian:bookworm-slim"


def base_image(path):
    """A Debian base as a tar file, from Debian's packages, made once."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.run(["mmdebstrap", "--format=tar", "--quiet", "--variant=minbase", "--components=main", "bookworm", path + ".new"],
                       check=True, timeout=600)
        os.rename(path + ".new", path)
    return path


class Network:
    """A network namespace with loopback up, held by a process."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 3600"], stdout=subprocess.PIPE)
        if self.holder.stdout.readline() != b"up\n":
            raise RuntimeError("no network namespace")
        self.enter = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]

    def close(self):
        self.holder.kill()
        self.holder.wait()


class Engine:
    """The daemon; `log` is where it writes."""

    def __init__(self, folder):
        self.folder, self.process, self.log = folder, None, f"{folder}/dockerd.log"
        os.makedirs(folder)
        self.env = dict(os.environ, PATH="/usr/bin:/usr/sbin:/bin:/sbin", DOCKER_HOST=f"unix://{folder}/docker.sock", DOCKER_BUILDKIT="0",
                        COMPOSE_DOCKER_CLI_BUILD="0", DOCKER_CONFIG=folder, COMPOSE_ANSI="never")

    def start(self, network=None):
        command = ["dockerd", f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/docker.pid",
                   f"--host=unix://{self.folder}/docker.sock", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
                   "--default-ulimit=nofile=16384:16384"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen((network.enter if network else []) + command, stdout=log, stderr=log, env=self.env)
        for _ in range(300):
            if subprocess.run(["docker", "version"], env=self.env, capture_output=True).returncode == 0:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.2)
        raise RuntimeError("the Docker engine does not start: " + open(self.log).read()[-2000:])

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def run(self, *command, text=None, seconds=120, check=True):
        """Its output; stderr goes to the test's."""
        done = subprocess.run(command, env=self.env, stdout=subprocess.PIPE, text=True, input=text, timeout=seconds)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: status {done.returncode}: {done.stdout[-2000:]}")
        return done.stdout

    def load(self, path, name):
        self.run("docker", "import", path, name)
