#!/usr/bin/env python3
"""Kerberos: a KDC of the test's own, a stock client with a ticket, GSSAPI through the gateway; tickets for another service, of another realm's shape and
authzids of others are refused. In a network namespace: a KDC has port 88."""
import asyncio
import base64
import os
import secrets
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import kerberos  # noqa: E402
import namespace  # noqa: E402
from sasl import Mechanism, Stack, attempt, environment, failure, stage, write  # noqa: E402
from stack import run  # noqa: E402

DOMAIN, OTHER, REALM = "capulet.example", "montague.example", "CAPULET.EXAMPLE"
PASSWORD = secrets.token_hex(12)

KRB5 = """
[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
[realms]
{realm} = {{
  kdc = 127.0.0.1
}}
[domain_realm]
{domain} = {realm}
{other} = {realm}
"""

KDC = """
[kdcdefaults]
kdc_listen = 127.0.0.1:88
kdc_tcp_listen = 127.0.0.1:88
[realms]
{realm} = {{
  database_name = {d}/principal
  key_stash_file = {d}/stash
  acl_file = {d}/acl
}}
"""


def kadmin(env, *lines):
    subprocess.run(["kadmin.local"], input="".join(line + "\n" for line in lines), text=True, check=True, env=env, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def start_kdc(test):
    d = test.folder
    env = dict(os.environ, KRB5_CONFIG=write(f"{d}/krb5.conf", KRB5.format(realm=REALM, domain=DOMAIN, other=OTHER)),
               KRB5_KDC_PROFILE=write(f"{d}/kdc.conf", KDC.format(realm=REALM, d=d)))
    master = secrets.token_hex(12)
    subprocess.run(["kdb5_util", "create", "-s", "-r", REALM], input=f"{master}\n{master}\n", text=True, check=True, env=env, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    kadmin(env, f"addprinc -pw {PASSWORD} juliet", f"addprinc -pw {PASSWORD} juliet/admin", f"addprinc -randkey xmpp/{DOMAIN}",
           f"addprinc -randkey xmpp/{OTHER}", f"ktadd -k {d}/keytab xmpp/{DOMAIN}")
    test.start("kdc", ["krb5kdc", "-n"], env)
    namespace.listens("127.0.0.1", 88)
    return env


def ticket(test, env, principal):
    """A cache with a ticket for who that is."""
    cache = f"{test.folder}/cache-{principal.replace('/', '-')}"
    subprocess.run(["kinit", "-c", cache, principal], input=PASSWORD + "\n", text=True, check=True, env=env, stdout=subprocess.DEVNULL)
    return cache


def gssapi(service, authzid):
    """RFC 4752's client side with a ticket for `service`; "" asks for no other identity than the ticket's."""
    _, context = kerberos.authGSSClientInit(f"xmpp@{service}")
    kerberos.authGSSClientStep(context, "")
    first = base64.b64decode(kerberos.authGSSClientResponse(context))
    steps = iter((1, 2))

    def respond(challenge):
        text = base64.b64encode(challenge).decode()
        if next(steps) == 1:
            kerberos.authGSSClientStep(context, text)
            return base64.b64decode(kerberos.authGSSClientResponse(context) or "")
        kerberos.authGSSClientUnwrap(context, text)
        layer = b"\1\0\0\0" + authzid.encode()
        kerberos.authGSSClientWrap(context, base64.b64encode(layer).decode())
        return base64.b64decode(kerberos.authGSSClientResponse(context))

    return Mechanism("GSSAPI", first, respond)


async def story(test, stack, caches):
    os.environ["KRB5CCNAME"] = caches["juliet"]
    test.check("juliet's stock client logs in with her ticket", await stack.login("juliet", "", "GSSAPI") == "in")
    answer = await attempt(stack, gssapi(DOMAIN, ""))
    test.check("the account is the ticket's", answer.startswith("<success"))
    answer = await attempt(stack, gssapi(DOMAIN, f"juliet@{DOMAIN}"))
    test.check("one's own authzid is taken", answer.startswith("<success"))
    for whose in (f"romeo@{DOMAIN}", "romeo", f"juliet@{OTHER}"):
        answer = await attempt(stack, gssapi(DOMAIN, whose))
        test.check(f"{whose} as authzid is invalid-authzid", failure("invalid-authzid").fullmatch(answer))
    answer = await attempt(stack, gssapi(OTHER, ""), address="127.0.0.2")
    test.check("a ticket for another service is not-authorized", failure("not-authorized").fullmatch(answer))
    answer = await attempt(stack, gssapi(OTHER, ""), OTHER, address="127.0.0.2")
    test.check("a domain that the keytab has no key for is our trouble", failure("temporary-auth-failure").fullmatch(answer))
    answer = await attempt(stack, Mechanism("GSSAPI", b"no ticket at all"), address="127.0.0.2")
    test.check("what is no ticket is not-authorized", failure("not-authorized").fullmatch(answer))
    os.environ["KRB5CCNAME"] = caches["juliet/admin"]
    answer = await attempt(stack, gssapi(DOMAIN, ""), address="127.0.0.3")
    test.check("a principal that is no localpart is not-authorized", failure("not-authorized").fullmatch(answer))


def main():
    namespace.enter()
    with stage("live.sasl_kerberos") as test:
        env = start_kdc(test)
        os.environ["KRB5_CONFIG"] = env["KRB5_CONFIG"]
        caches = {principal: ticket(test, env, principal) for principal in ("juliet", "juliet/admin")}
        env = environment(test, {"mech_list": "GSSAPI"}, KRB5_CONFIG=env["KRB5_CONFIG"], KRB5_KTNAME=f"{test.folder}/keytab",
                          KRB5RCACHENAME=f"file2:{test.folder}/replays")
        stack = Stack(test, [DOMAIN, OTHER], env)
        run(test, story(test, stack, caches))
        stack.stop("Kerberos")
        test.stop("kdc")


main()
