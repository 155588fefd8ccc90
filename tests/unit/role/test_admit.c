/* Connections of an address: both limits, who counts with whom, and that nothing is kept of an address that has left. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "check.h"
#include "role/admit.h"

enum { ALL_MAX = 5, NEGOTIATING_MAX = 3 };

static struct role_env env;

static void begin(void)
{
	env = (struct role_env){.addresses = hash_new(),
				.limits = {.negotiating_per_address_max = NEGOTIATING_MAX, .connections_per_address_max = ALL_MAX}};
}

static void finish(void)
{
	CHECK_EQ(hash_count(env.addresses), 0);
	hash_free(env.addresses);
}

static struct address_count *enter(const char *text)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
		return admit_enter(&env, (const struct sockaddr *)&four);
	CHECK_EQ(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
	return admit_enter(&env, (const struct sockaddr *)&six);
}

static void leave(struct address_count *a, unsigned nr, bool negotiating)
{
	while (nr-- > 0)
		admit_leave(&env, a, negotiating);
}

static void test_negotiating(void)
{
	struct address_count *a = NULL, *b;

	begin();
	for (int i = 0; i < NEGOTIATING_MAX; i++)
		CHECK((a = enter("192.0.2.1")) != NULL);
	CHECK(enter("192.0.2.1") == NULL);
	CHECK((b = enter("192.0.2.2")) != NULL);        /* another's affair */
	leave(a, 1, true);
	CHECK(enter("192.0.2.1") == a);
	CHECK(enter("192.0.2.1") == NULL);
	leave(a, NEGOTIATING_MAX, true);
	leave(b, 1, true);
	finish();
}

static void test_all(void)
{
	struct address_count *a = NULL;

	begin();
	for (int i = 0; i < ALL_MAX; i++) {
		CHECK((a = enter("192.0.2.1")) != NULL);
		admit_authenticated(a);
	}
	CHECK(enter("192.0.2.1") == NULL);
	leave(a, 1, false);
	CHECK(enter("192.0.2.1") == a);
	leave(a, 1, true);
	leave(a, ALL_MAX - 1, false);
	finish();
}

/* Who holds a /64 has as many addresses as he likes; who comes by IPv4 is the same on either socket. */
static void test_whose(void)
{
	struct address_count *a, *b, *c;

	begin();
	a = enter("2001:db8:0:1::1");
	CHECK(enter("2001:db8:0:1:ffff::2") == a && enter("2001:db8:0:1::3") == a);
	CHECK(enter("2001:db8:0:1::4") == NULL);
	CHECK((b = enter("2001:db8:0:2::1")) != NULL && b != a);
	c = enter("192.0.2.1");
	CHECK(enter("::ffff:192.0.2.1") == c);
	leave(a, 3, true);
	leave(b, 1, true);
	leave(c, 2, true);
	leave(NULL, 1, true); /* who was refused has nothing to leave */
	finish();
}

int main(void)
{
	RUN(test_negotiating);
	RUN(test_all);
	RUN(test_whose);
	return check_done("unit.role.admit");
}
