"""The packages of the lock file, which no Debian package holds as a program."""
import fcntl
import os
import subprocess

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def install(log):
    """Installs them once for each state of the lock file, output to `log`. Scripts run side by side: one installs, the others wait for it."""
    lock_file = f"{FOLDER}/package-lock.json"
    mark = f"{FOLDER}/node_modules/.installed"
    with open(lock_file, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = lock.read()
        try:
            with open(mark, "rb") as file:
                if file.read() == wanted:
                    return
        except FileNotFoundError:
            pass
        subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=FOLDER, check=True, stdout=log, stderr=log)
        with open(mark, "wb") as file:
            file.write(wanted)
