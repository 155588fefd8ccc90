"""A service that only sends (tests/live/sender.c), and what gateways say of the stanzas that they sent again."""
import asyncio
import re
import subprocess

from stack import BUILD


class Sender:
    """Numbered messages from one domain to another, and what the service is told of each: `back`, those that came back, and `told`, how many were what in the end."""

    def __init__(self, test, registry, key, domains, label, count, burst, env=None):
        self.label, self.count, self.back, self.told = label, count, [], "nothing"
        self.process = test.start(label, [f"{BUILD}/tests/live/sender", registry, key, *domains, label, str(count), str(burst)], env, stdin=subprocess.PIPE)

    def go(self):
        """To be awaited for `told`."""
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        return asyncio.get_event_loop().run_in_executor(None, self.read)

    def read(self):
        for line in self.process.stdout:
            word, _, rest = line.decode().strip().partition(" ")
            if word == "done":
                self.told = rest
                break
            self.back.append(rest)
        return self.told


def marked(log):
    """How many stanzas a gateway sent as possible repetitions, by its log."""
    return sum(int(n) for n in re.findall(r" repeated from=.* stanzas=(\d+)", log))
