"""Tests whose peers want fixed ports or files under /etc run where those are their own."""
import os
import socket
import subprocess
import sys
import time


def enter(network=True):
    """Starts the test again in a mount namespace, and where loopback is all there is of a network."""
    if os.environ.get("AMBROSIA_TEST_NAMESPACE") != "1":
        kinds = ["-m", "-n"] if network else ["-m"]
        script = os.path.abspath(sys.argv[0])
        os.execvpe("unshare", ["unshare", *kinds, sys.executable, script, *sys.argv[1:]], dict(os.environ, AMBROSIA_TEST_NAMESPACE="1"))
    if network:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def cover(path, with_path):
    """What is at `path` is another file or folder from here on, for this test and what it starts."""
    subprocess.run(["mount", "--bind", with_path, path], check=True)


def listens(address, port):
    """Returns once somebody does."""
    for _ in range(300):
        try:
            return socket.create_connection((address, port), 1).close()
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"nobody listens on {address} port {port}")
