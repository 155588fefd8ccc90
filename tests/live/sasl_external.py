#!/usr/bin/env python3
"""EXTERNAL: a stock client with a certificate that holds its JID as XmppAddr; certificates of other accounts, domains and authorities."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from sasl import Mechanism, Stack, attempt, client_certificate, environment, failure, stage  # noqa: E402
from stack import authority, run  # noqa: E402

DOMAIN, OTHER = "capulet.example", "montague.example"


def external(authzid=""):
    return Mechanism("EXTERNAL", authzid.encode())


async def story(test, stack, juliet, stranger):
    test.check("juliet's stock client logs in with her certificate", await stack.login("juliet", "", "EXTERNAL", juliet) == "in")
    for authzid in ("", f"juliet@{DOMAIN}"):
        answer = await attempt(stack, external(authzid), certificate=juliet)
        test.check(f"authzid '{authzid}' is hers", answer.startswith("<success"))
    for authzid in (f"romeo@{DOMAIN}", f"juliet@{OTHER}", DOMAIN):
        answer = await attempt(stack, external(authzid), certificate=juliet, address="127.0.0.2")
        test.check(f"authzid '{authzid}' is not: invalid-authzid", failure("invalid-authzid").fullmatch(answer))
    answer = await attempt(stack, external(), OTHER, certificate=juliet, address="127.0.0.2")
    test.check("her certificate is nothing at another domain", failure("invalid-authzid").fullmatch(answer))
    for who, certificate in (("a certificate of another authority", stranger), ("no certificate", None)):
        client = await stack.raw(address="127.0.0.3", certificate=certificate)
        test.check(f"{who}: EXTERNAL is not offered", "EXTERNAL" not in client.features and "PLAIN" in client.features)
        test.check(f"{who}: nor done", failure("invalid-mechanism").fullmatch(await client.auth(external())))
        client.close()


def main():
    with stage("live.sasl_external") as test:
        d = test.folder
        for ca in ("ca", "other-ca"):
            authority(d, ca)
        juliet = client_certificate(d, "ca", "juliet", f"juliet@{DOMAIN}")
        stranger = client_certificate(d, "other-ca", "stranger", f"juliet@{DOMAIN}")
        env = environment(test, {"pwcheck_method": "auxprop", "auxprop_plugin": "sasldb", "sasldb_path": f"{d}/sasldb2", "mech_list": "EXTERNAL PLAIN"},
                          SSL_CERT_FILE=f"{d}/ca.pem", SSL_CERT_DIR=f"{d}/none")
        stack = Stack(test, [DOMAIN, OTHER], env)
        run(test, story(test, stack, juliet, stranger))
        stack.stop("EXTERNAL")


main()
