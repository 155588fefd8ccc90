/* Keys from the master, against values that were derived elsewhere (Python's hmac), and the master's file. */
#include "check.h"
#include "sample.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "registry/secrets.h"

#define SLOT 248000u

static char dir[] = "/tmp/ambrosia-secrets-XXXXXX";
static char path[128];

static void sample_master(struct secrets_master *m)
{
	for (m->n = 0; m->n < 32; m->n++)
		m->bytes[m->n] = (unsigned char)m->n;
}

static void check_hex(const unsigned char *got, size_t n, const char *want)
{
	char hex[2 * REG_TICKET + 1];

	for (size_t i = 0; i < n; i++)
		snprintf(hex + 2 * i, 3, "%02x", got[i]);
	CHECK_STR(hex, want);
}

static void test_derived(void)
{
	struct secrets_master m;
	struct secrets_slot s, next;

	sample_master(&m);
	CHECK_EQ(secrets_derive(&m, SLOT, &s), 0);
	check_hex(s.salt_key, sizeof(s.salt_key), "3b33dd548b7c69b50561bd7e16307c6dcf1eae4d57f116af22cc573ffd874758");
	check_hex(s.dialback_key, sizeof(s.dialback_key), "b6c8ad9739354618916b64c80587f92175ccf77eaf8fb172a0e17a11a95cbf02");
	check_hex(s.ticket_keys, sizeof(s.ticket_keys),
		  "95a1edad31e8a7ebec792db82f4a940f517ba8327b9f8276f46c044ec1b9e8ef90d478ead12822527e6b523a026f9ad1"
		  "d7501dc4b34538142f3a0c320e6c0b01660b29cd9c42bae95e3dafde23c888f1");
	CHECK_EQ(secrets_derive(&m, SLOT + 1, &next), 0);
	CHECK(memcmp(s.salt_key, next.salt_key, sizeof(s.salt_key)) == 0);
	CHECK(memcmp(s.dialback_key, next.dialback_key, sizeof(s.dialback_key)) != 0);
	CHECK(memcmp(s.ticket_keys, next.ticket_keys, sizeof(s.ticket_keys)) != 0);
	m.bytes[0] ^= 1;
	CHECK_EQ(secrets_derive(&m, SLOT, &next), 0);
	CHECK(memcmp(s.salt_key, next.salt_key, sizeof(s.salt_key)) != 0);
}

static struct reg_slot seen[4];
static unsigned nr_seen;

static void on_slot(void *arg, const struct reg_slot *s)
{
	(void)arg;
	seen[nr_seen++ % 4] = *s;
}

static void test_neighbours(void)
{
	struct secrets_master m;

	sample_master(&m);
	nr_seen = 0;
	CHECK_EQ(secrets_each(&m, SLOT * SECRETS_SLOT_MS + 1000, on_slot, NULL), 0);
	CHECK_EQ(nr_seen, 3);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(seen[i].number, SLOT - 1 + i);
		CHECK_EQ(seen[i].current, SLOT);
		CHECK_EQ(seen[i].left_ms, SECRETS_SLOT_MS - 1000);
	}
}

static void write_master(size_t n, mode_t mode)
{
	static const char bytes[SECRETS_MASTER_MAX] = "m";
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK_EQ(write(fd, bytes, n), n);
	CHECK_EQ(fchmod(fd, mode), 0);
	close(fd);
}

static void test_file(void)
{
	struct secrets_master m, again;
	char why[300] = "";
	struct stat st;

	CHECK_EQ(secrets_master_load(&m, path, false, why, sizeof(why)), -1);
	CHECK(strstr(why, path) == why);
	CHECK_EQ(secrets_master_load(&m, path, true, why, sizeof(why)), 0);
	CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
	CHECK_EQ(secrets_master_load(&again, path, true, why, sizeof(why)), 0);
	CHECK(m.n == again.n && memcmp(m.bytes, again.bytes, m.n) == 0);
	write_master(31, 0600);
	CHECK_EQ(secrets_master_load(&m, path, true, why, sizeof(why)), -1);
	CHECK(strstr(why, "32 to 4095 bytes") != NULL);
	CHECK_EQ(m.n, 0);
	write_master(SECRETS_MASTER_MAX, 0600);
	CHECK_EQ(secrets_master_load(&m, path, true, why, sizeof(why)), -1);
	write_master(65, 0400);
	CHECK_EQ(secrets_master_load(&m, path, true, why, sizeof(why)), 0);
	CHECK_EQ(m.n, 65);
	write_master(65, 0640);
	CHECK_EQ(secrets_master_load(&m, path, true, why, sizeof(why)), -1);
	CHECK(strstr(why, "0600") != NULL);
}

int main(void)
{
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/master", dir);
	RUN(test_derived);
	RUN(test_neighbours);
	RUN(test_file);
	unlink(path);
	rmdir(dir);
	return check_done("registry.secrets");
}
