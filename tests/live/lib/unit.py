"""A systemd unit's promises kept without systemd: its user, environment, capabilities and system calls, for a program under another root."""
import os
import re
import subprocess

import seccomp


def read(path, instance=""):
    """{key: [value, …]} of all sections, %i filled in."""
    unit = {}
    for line in open(path):
        found = re.fullmatch(r"(\w+)=(.*)", line.strip())
        if found:
            unit.setdefault(found[1], []).append(found[2].replace("%i", instance))
    return unit


def environment(unit, root):
    """What the unit's files and lines set, the files last."""
    env = {"PATH": "/usr/sbin:/usr/bin"}
    for line in unit.get("Environment", []):
        env.update(word.split("=", 1) for word in line.split())
    for path in unit.get("EnvironmentFile", []):
        path = root + path.lstrip("-")
        if os.path.exists(path):
            env.update(line.strip().split("=", 1) for line in open(path))
    return env


def calls_of(name):
    """The names of a system call or of a set of them."""
    if not name.startswith("@"):
        return {name}
    text = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    words = [line.strip() for line in text.splitlines()[1:] if line.startswith(" ") and not line.strip().startswith("#")]
    return set().union(*(calls_of(word) for word in words))


def allowed_calls(unit):
    allowed = calls_of("@default")
    for line in unit["SystemCallFilter"]:
        names = set().union(*(calls_of(word) for word in line.lstrip("~").split()))
        allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


def call_filter(unit):
    """Stricter than the unit, which lets a forbidden call fail: here it ends the process, so that it shows."""
    f = seccomp.SyscallFilter(defaction=seccomp.KILL_PROCESS)
    for name in allowed_calls(unit):
        try:
            f.add_rule(seccomp.ALLOW, name)
        except RuntimeError:
            pass    # a name of another architecture
    return f


def start(test, name, root, path, instance="", more=None):
    """Starts the unit's program as the unit wants it. The root's mounts are the caller's business, since they outlive the program."""
    unit = read(root + path, instance)
    user = unit["User"][0]
    lines = [line.strip().split(":") for line in open(f"{root}/etc/passwd")]
    uid, gid = next((int(line[2]), int(line[3])) for line in lines if line[0] == user)
    members = [line.strip().split(":") for line in open(f"{root}/etc/group")]
    groups = [gid] + [int(line[2]) for line in members if user in line[3].split(",")]
    calls = call_filter(unit)

    def become():
        os.chroot(root)
        os.chdir("/")
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        calls.load()    # sets no_new_privs too

    with open(f"{test.folder}/{name}.log", "ab") as log:
        test.programs[name] = subprocess.Popen(unit["ExecStart"][0].split(), stdout=subprocess.PIPE, stderr=log, preexec_fn=become,
                                               env=dict(environment(unit, root), **(more or {})))
    return test.programs[name]
