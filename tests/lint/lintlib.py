"""What the lints share: the tree's files, C without comments and strings, findings and the last line."""
import os
import re
import shutil
import subprocess
import sys

SKIPPED = {".git", "build", "var", "node_modules", "__pycache__"}
C_FOLDERS = ("common", "svcproto", "registry", "gateway", "services", "tests")


def root():
    if len(sys.argv) > 1:
        return os.path.abspath(sys.argv[1])
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def git_files(top):
    """Nothing where there is no git, no repository, or one that git does not trust because somebody else owns it."""
    if not os.path.exists(os.path.join(top, ".git")) or not shutil.which("git"):
        return []
    return subprocess.run(["git", "-C", top, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True).stdout.splitlines()


def files(top):
    """Paths relative to top: what git knows or would take, or, where git does not say, everything."""
    listed = git_files(top)
    if listed:
        names = [n for n in listed if os.path.isfile(os.path.join(top, n))]
    else:
        names = []
        for folder, dirs, found in os.walk(top):
            dirs[:] = [d for d in dirs if d not in SKIPPED]
            names += [os.path.relpath(os.path.join(folder, f), top) for f in found]
    return sorted(set(names))


def c_files(top):
    return [n for n in files(top) if n.endswith((".c", ".h")) and n.split("/")[0] in C_FOLDERS]


def read(top, name):
    with open(os.path.join(top, name), encoding="utf-8", errors="replace") as f:
        return f.read()


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text):
    """Comments and the insides of literals blanked, every line where it was."""
    def blank(m):
        token = m.group(0)
        if token[0] == "/":
            return re.sub(r"[^\n]", " ", token)
        return token[0] + " " * (len(token) - 2) + token[-1]
    return TOKEN.sub(blank, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


class Report:
    """Findings for each file; a file passes when it has none."""

    def __init__(self, name):
        self.name, self.checked, self.findings = name, set(), []

    def check(self, path):
        self.checked.add(path)

    def find(self, path, line, rule, text):
        self.checked.add(path)
        self.findings.append((path, line, rule, text))

    def finish(self):
        for path, line, rule, text in sorted(self.findings):
            print(f"{path}:{line}: {rule}: {text}")
        failed = len({f[0] for f in self.findings})
        print(f"lint.{self.name}: {len(self.checked) - failed} passed, {failed} failed")
        sys.exit(1 if failed else 0)
