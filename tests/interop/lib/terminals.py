"""profanity, unmodified, in terminals: what is typed, and what comes to stand on the screen."""
import os
import re
import subprocess
import time

SECONDS = 30


class Terminals:
    """tmux sessions of a server of our own, whose clients share a home."""

    def __init__(self, test):
        self.test, self.tmux = test, ["tmux", "-S", f"{test.folder}/tmux", "-f", "/dev/null"]
        self.home = f"{test.folder}/home"
        os.mkdir(self.home)

    def keep(self, path, lines):
        """What a client would have kept in its home."""
        os.makedirs(os.path.dirname(f"{self.home}/{path}"), exist_ok=True)
        with open(f"{self.home}/{path}", "w") as f:
            f.write("\n".join(lines) + "\n")

    def open(self, name, command):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "TMUX"))}
        subprocess.run([*self.tmux, "new-session", "-d", "-x", "120", "-y", "40", "-s", name, command], check=True,
                       env=dict(env, HOME=self.home, LANG="C.UTF-8", TERM="xterm"))

    def type(self, name, line):
        subprocess.run([*self.tmux, "send-keys", "-t", name, "-l", line], check=True)
        subprocess.run([*self.tmux, "send-keys", "-t", name, "Enter"], check=True)

    def screen(self, name):
        shown = subprocess.run([*self.tmux, "capture-pane", "-p", "-t", name], check=True, stdout=subprocess.PIPE).stdout.decode()
        return re.sub(r"\s+", " ", shown)

    def shows(self, name, *texts):
        """Whether all of them come to stand on the screen."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if all(text in self.screen(name) for text in texts):
                return True
            time.sleep(0.1)
        print(f"   {name} waits for {texts}; the screen: {self.screen(name)}", flush=True)
        return False

    def close(self):
        subprocess.run([*self.tmux, "kill-server"], check=False)
