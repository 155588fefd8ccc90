#!/usr/bin/env python3
"""saslauthd: PAM (pam_unix, with a passwd and shadow file of the test's own) and LDAP (slapd; a bind for each login). It is given the password, so
PLAIN is all there can be. And LDAP without it: the ldapdb plugin, which reads the password and so can do SCRAM."""
import asyncio
import os
import secrets
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import namespace  # noqa: E402
from sasl import Stack, attempt, back_end, by_password, environment, failure, stage, write  # noqa: E402
from stack import run  # noqa: E402

DOMAIN = "capulet.example"
PASSWORD = secrets.token_hex(12)

SLAPD = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {d}/slapd.pid
authz-policy to
authz-regexp "gidNumber=[0-9]+\\\\+uidNumber={uid},cn=peercred,cn=external,cn=auth" "cn=gateway,dc=example"
authz-regexp "uid=([^,]+),cn=[^,]*,cn=auth" "mail=$1,ou=people,dc=example"
database mdb
suffix "dc=example"
directory {d}/ldap
access to attrs=userPassword by self read by anonymous auth by * none
access to * by * read
"""

PEOPLE = """
dn: dc=example
objectClass: domain
dc: example

dn: ou=people,dc=example
objectClass: organizationalUnit
ou: people

dn: cn=gateway,dc=example
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: gateway
userPassword: {{x}}
authzTo: dn.regex:^mail=[^,]+,ou=people,dc=example$

dn: mail=juliet@{domain},ou=people,dc=example
objectClass: inetOrgPerson
uid: juliet
cn: Juliet
sn: Capulet
mail: juliet@{domain}
userPassword: {password}
"""


def conf(test, name, mech_list="PLAIN"):
    return {"pwcheck_method": "saslauthd", "saslauthd_path": f"{test.folder}/{name}/mux", "mech_list": mech_list}


def start_saslauthd(test, how, *more):
    os.makedirs(f"{test.folder}/{how}", exist_ok=True)
    # A session of its own: it ends its children by ending its whole process group.
    test.start(f"saslauthd-{how}", ["setsid", "saslauthd", "-d", "-n", "2", "-a", how, "-m", f"{test.folder}/{how}", *more])
    return f"{test.folder}/{how}/mux"


async def exists(path):
    while not os.path.exists(path):
        await asyncio.sleep(0.05)


async def story(test, what, stack, mux, mechanisms=("PLAIN",)):
    await exists(mux)
    await back_end(test, what, stack, ("juliet", PASSWORD), mechanisms, "127.0.0.2")
    if mechanisms == ("PLAIN",):
        features = (await stack.raw()).features
        test.check(f"{what}: SCRAM, which needs the secret itself, is not offered", "PLAIN" in features and "SCRAM" not in features)


async def gone(test, what, stack, mechanisms=("PLAIN",)):
    for mech in mechanisms:
        answer = await attempt(stack, by_password(mech, "nurse", PASSWORD), address="127.0.0.3")
        test.check(f"{what}: without the daemon a login with {mech} is put off", failure("temporary-auth-failure").fullmatch(answer))


def system_accounts(test):
    """/etc/passwd, /etc/shadow and /etc/pam.d with one user more and one service, here alone."""
    digest = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=PASSWORD.encode(), check=True, capture_output=True).stdout.decode().strip()
    for name, line, mode in (("passwd", "juliet:x:64001:64001::/nonexistent:/usr/sbin/nologin\n", 0o644), ("shadow", f"juliet:{digest}:19000::::::\n", 0o600)):
        namespace.cover(f"/etc/{name}", write(f"{test.folder}/{name}", open(f"/etc/{name}").read() + line, mode))
    shutil.copytree("/etc/pam.d", f"{test.folder}/pam.d")
    write(f"{test.folder}/pam.d/xmpp", "auth required pam_unix.so\naccount required pam_unix.so\n", 0o644)
    namespace.cover("/etc/pam.d", f"{test.folder}/pam.d")


def pam(test):
    system_accounts(test)
    mux = start_saslauthd(test, "pam")
    stack = Stack(test, [DOMAIN], environment(test, conf(test, "pam")))
    run(test, story(test, "PAM", stack, mux))
    test.stop("saslauthd-pam")
    run(test, gone(test, "PAM", stack))
    stack.stop("PAM")


def start_slapd(test):
    d = test.folder
    os.mkdir(f"{d}/ldap")
    config = write(f"{d}/slapd.conf", SLAPD.format(d=d, uid=os.getuid()))
    people = write(f"{d}/people.ldif", PEOPLE.format(domain=DOMAIN, password=PASSWORD))
    subprocess.run(["slapadd", "-q", "-f", config, "-l", people], check=True)
    uri = f"ldapi://{d.replace('/', '%2F')}%2Fldapi"
    test.start("slapd", ["slapd", "-d", "0", "-h", uri, "-f", config])
    return uri, f"{d}/ldapi"


def ldap(test):
    uri, socket = start_slapd(test)
    config = write(f"{test.folder}/saslauthd.conf", f"ldap_servers: {uri}\nldap_search_base: ou=people,dc=example\nldap_filter: (mail=%u@%r)\n")
    mux = start_saslauthd(test, "ldap", "-O", config)
    stack = Stack(test, [DOMAIN], environment(test, conf(test, "ldap")))
    run(test, exists(socket))
    run(test, story(test, "LDAP by saslauthd", stack, mux))
    stack.stop("LDAP by saslauthd")
    test.stop("saslauthd-ldap")
    stack = Stack(test, [DOMAIN], environment(test, {"pwcheck_method": "auxprop", "auxprop_plugin": "ldapdb", "ldapdb_uri": uri, "ldapdb_mech": "EXTERNAL",
                                                     "mech_list": "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN"}))
    run(test, story(test, "LDAP by ldapdb", stack, socket, ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN")))
    test.stop("slapd")
    run(test, gone(test, "LDAP by ldapdb", stack, ("SCRAM-SHA-256", "PLAIN")))
    stack.stop("LDAP by ldapdb")


def main():
    namespace.enter(network=False)
    with stage("live.sasl_saslauthd") as test:
        pam(test)
        ldap(test)


main()
