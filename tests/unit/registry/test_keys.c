/* Key files and the embedded registry's first start, in a folder of its own. */
#include "check.h"
#include "sample.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "registry/authorized_keys.h"
#include "svcproto/keys.h"

static char dir[] = "/tmp/ambrosia-keys-XXXXXX";

static const char *path(const char *name)
{
	static char p[256];

	snprintf(p, sizeof(p), "%s/%s", dir, name);
	return p;
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	return stat(path(name), &st) == 0 ? st.st_mode & 0777 : 0;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	FILE *f = fopen(path(name), "w");

	CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0 && chmod(path(name), mode) == 0);
}

static void test_save_and_load(void)
{
	struct svc_key a, b;

	CHECK_EQ(svc_key_make(&a), 0);
	CHECK_EQ(svc_key_save(path("a.key"), &a), 0);
	CHECK_EQ(mode_of("a.key"), 0600);
	CHECK_EQ(svc_key_load(path("a.key"), &b), 0);
	CHECK(memcmp(&a, &b, sizeof(a)) == 0);
	CHECK(svc_key_save(path("a.key"), &b) != 0); /* never over an existing file */
	CHECK_EQ(svc_key_load_or_make(path("a.key"), &b), 0);
	CHECK_STR(b.public_z85, a.public_z85);
	chmod(path("a.key"), 0640);
	CHECK_EQ(svc_key_load(path("a.key"), &b), SVCPROTO_E_KEY);
	CHECK_EQ(svc_key_load_or_make(path("a.key"), &b), SVCPROTO_E_KEY);
	CHECK_EQ(svc_key_load(path("none.key"), &b), SVCPROTO_E_KEY);
	unlink(path("a.key"));
}

/* Secrets: whole or not at all, and nobody else's business. */
static void test_private_files(void)
{
	char four[4];

	CHECK_EQ(svc_file_make(path("master"), "1234", 4), 0);
	CHECK_EQ(mode_of("master"), 0600);
	CHECK(svc_file_make(path("master"), "5678", 4) != 0);
	CHECK_EQ(svc_file_read(path("master"), four, 4), 0);
	CHECK(memcmp(four, "1234", 4) == 0);
	CHECK_EQ(svc_file_read(path("master"), four, 3), SVCPROTO_E_KEY);
	CHECK_EQ(svc_file_replace(path("master"), "123", 3), 0);
	CHECK_EQ(mode_of("master"), 0600);
	CHECK_EQ(svc_file_read(path("master"), four, 4), SVCPROTO_E_KEY);
	CHECK_EQ(svc_file_read(path("master"), four, 3), 0);
	chmod(path("master"), 0604);
	CHECK_EQ(svc_file_read(path("master"), four, 3), SVCPROTO_E_KEY);
	CHECK_EQ(svc_file_read(dir, four, 0), SVCPROTO_E_KEY);
	CHECK_EQ(svc_file_read(path("missing"), four, 3), SVCPROTO_E_KEY);
	chmod(path("master"), 0600);
	if (geteuid() == 0) { /* the files of the user that root is about to become */
		CHECK_EQ(chown(path("master"), 54321, 54321), 0);
		CHECK_EQ(svc_file_read(path("master"), four, 3), 0);
	}
	unlink(path("master"));
}

static void test_malformed(void)
{
	struct svc_key a, b;
	char text[200];

	CHECK_EQ(svc_key_make(&a), 0);
	CHECK_EQ(svc_key_make(&b), 0);
	snprintf(text, sizeof(text), "%s\n%s\n", a.public_z85, b.secret_z85);
	write_file("m.key", text, 0600);
	CHECK_EQ(svc_key_load(path("m.key"), &b), SVCPROTO_E_KEY); /* two halves of different pairs */
	write_file("m.key", "short\n", 0600);
	CHECK_EQ(svc_key_load(path("m.key"), &b), SVCPROTO_E_KEY);
	unlink(path("m.key"));
}

static void test_first_start(void)
{
	struct authorized_keys a;
	struct svc_key k;
	char why[400];

	CHECK_EQ(authorized_keys_make(dir, path("authorized_keys"), why, sizeof(why)), 0);
	CHECK_EQ(mode_of("authorized_keys"), 0600);
	CHECK_EQ(authorized_keys_load(path("authorized_keys"), &a, why, sizeof(why)), 0);
	CHECK_EQ(keyset_serial(a.set), 1);
	CHECK_EQ(keyset_nr_keys(a.set), 3);
	CHECK_EQ(svc_key_load(path("gateway.key"), &k), 0);
	CHECK_EQ(keyset_role(a.set, k.public_z85), DIR_ROLE_GATEWAY);
	CHECK_EQ(svc_key_load(path("service.key"), &k), 0);
	CHECK(keyset_may(a.set, k.public_z85, "any.example", SVCPROTO_CLIENT | SVCPROTO_SERVER));
	CHECK_EQ(svc_key_load(path("admin.key"), &k), 0);
	CHECK_EQ(keyset_role(a.set, k.public_z85), DIR_ROLE_ADMIN);
	authorized_keys_clear(&a);
	write_file("authorized_keys", "# mine\n", 0600);
	CHECK_EQ(authorized_keys_make(dir, path("authorized_keys"), why, sizeof(why)), 0); /* never touched again */
	CHECK_EQ(authorized_keys_load(path("authorized_keys"), &a, why, sizeof(why)), 0);
	CHECK_EQ(keyset_nr_keys(a.set), 0);
	authorized_keys_clear(&a);
	write_file("authorized_keys", "\nbroken\n", 0600);
	CHECK_EQ(authorized_keys_load(path("authorized_keys"), &a, why, sizeof(why)), -1);
	CHECK(strstr(why, "authorized_keys: line 2: ") != NULL);
	unlink(path("authorized_keys"));
	CHECK_EQ(authorized_keys_load(path("authorized_keys"), &a, why, sizeof(why)), -1);
	CHECK_EQ(authorized_keys_make_empty(path("authorized_keys"), why, sizeof(why)), 0);
	CHECK_EQ(mode_of("authorized_keys"), 0600);
	CHECK_EQ(authorized_keys_load(path("authorized_keys"), &a, why, sizeof(why)), 0);
	CHECK_EQ(keyset_nr_keys(a.set), 0);
	authorized_keys_clear(&a);
	unlink(path("authorized_keys"));
	unlink(path("gateway.key"));
	unlink(path("service.key"));
	unlink(path("admin.key"));
}

int main(void)
{
	if (mkdtemp(dir) == NULL)
		return 1;
	RUN(test_save_and_load);
	RUN(test_private_files);
	RUN(test_malformed);
	RUN(test_first_start);
	CHECK(rmdir(dir) == 0);
	return check_done("registry.keys");
}
