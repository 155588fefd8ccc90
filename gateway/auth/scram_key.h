#ifndef GATEWAY_AUTH_SCRAM_KEY_H
#define GATEWAY_AUTH_SCRAM_KEY_H

#include "common/obj.h"

#define SCRAM_KEY_SALT 16
#define SCRAM_KEY_MAX 512

/* Is it a SCRAM mechanism that we know how to derive for? name without -PLUS. */
bool scram_key_knows(const char *mech);
/* The salt of this user: the same at every gateway that holds the key, whether or not the user exists. */
void scram_key_salt(const unsigned char *salt_key, const char *mech, struct slice user, struct slice realm, unsigned char *out);
/* A password that nobody can guess, for users who don't exist: 64 hexadecimal digits and a NUL. */
void scram_key_nobody(const unsigned char *salt_key, const char *mech, struct slice user, struct slice realm, char *out);
/* As scram_key_derive(), to look at, of a password that nobody can guess: in a thousandth of the time. */
MUST_CHECK int scram_key_made_up(const char *mech, struct slice nobody, const unsigned char *salt, unsigned iterations, char *out);
/* The authPassword value (RFC 5803) "MECH$iterations:salt$StoredKey:ServerKey"; out takes SCRAM_KEY_MAX. -ERR_INVALID for another
 * mechanism. */
MUST_CHECK int scram_key_derive(const char *mech, struct slice password, const unsigned char *salt, unsigned iterations, char *out);

#endif
