/* The cluster's secrets at a gateway: which slots count, what happens when time passes and when registries disagree. */
#include "check.h"

#include "secrets.h"

#define NOW 1000000u

static unsigned char master;    /* stands for it */

static struct reg_slot slot(uint64_t number, uint64_t current, uint64_t left_ms)
{
	static unsigned char salt[REG_SECRET], dialback[4][REG_SECRET], ticket[4][REG_TICKET];

	memset(salt, master, sizeof salt);
	memset(dialback[number % 4], (int)(master + number), sizeof dialback[0]);
	memset(ticket[number % 4], (int)(master + 2 * number), sizeof ticket[0]);
	return (struct reg_slot){.number = number, .current = current, .left_ms = left_ms, .salt_key = salt,
				 .dialback_key = dialback[number % 4], .ticket_keys = ticket[number % 4]};
}

/* A registry's whole answer. */
static enum secrets_change take(struct secrets *s, unsigned source, uint64_t current, uint64_t left_ms, uint64_t now_ms)
{
	enum secrets_change worst = SECRETS_SAME;

	for (uint64_t n = current - 1; n <= current + 1; n++) {
		struct reg_slot one = slot(n, current, left_ms);
		enum secrets_change c = secrets_take(s, source, &one, now_ms);

		worst = c > worst ? c : worst;
	}
	return worst;
}

static void check_valid(const struct secrets *s, unsigned nr, uint64_t first, uint64_t second, uint64_t third)
{
	const uint64_t want[] = {first, second, third};
	const struct secret_slot *v[SECRETS_VALID_MAX];

	CHECK_EQ(secrets_valid(s, v), nr);
	for (unsigned i = 0; i < nr && i < SECRETS_VALID_MAX; i++) {
		CHECK_EQ(v[i]->number, want[i]);
		CHECK_EQ(v[i]->dialback_key[0], (unsigned char)(master + want[i]));
		CHECK_EQ(v[i]->ticket_keys[REG_TICKET - 1], (unsigned char)(master + 2 * want[i]));
	}
}

static void test_slots(void)
{
	struct secrets s = {.known = false};

	master = 7;
	check_valid(&s, 0, 0, 0, 0);
	CHECK(!secrets_advance(&s, NOW));
	CHECK_EQ(take(&s, 0, 50, 100, NOW), SECRETS_CHANGED);
	check_valid(&s, 3, 50, 49, 51);
	CHECK_EQ(take(&s, 1, 50, 90, NOW + 10), SECRETS_SAME);
	CHECK(!secrets_advance(&s, NOW + 99));
	CHECK(secrets_advance(&s, NOW + 100));
	check_valid(&s, 2, 51, 50, 0);
	/* No registry tells: the last one that is known goes on. */
	CHECK(!secrets_advance(&s, NOW + 1000000));
	check_valid(&s, 2, 51, 50, 0);
	CHECK_EQ(take(&s, 0, 52, 100, NOW + 1000000), SECRETS_CHANGED);
	check_valid(&s, 3, 52, 51, 53);
	secrets_wipe(&s);
	check_valid(&s, 0, 0, 0, 0);
}

static void test_masters(void)
{
	struct secrets s = {.known = false};

	master = 7;
	CHECK_EQ(take(&s, 1, 50, 100, NOW), SECRETS_CHANGED);
	master = 99;
	CHECK_EQ(take(&s, 0, 50, 100, NOW), SECRETS_CONTRADICTED);
	master = 7;
	check_valid(&s, 3, 50, 49, 51);
	/* The operator gave that registry another master. */
	master = 99;
	CHECK_EQ(take(&s, 1, 50, 100, NOW), SECRETS_CHANGED);
	check_valid(&s, 3, 50, 49, 51);
	CHECK_EQ(s.salt_key[0], 99);
}

static void test_no_overflow(void)
{
	struct secrets s = {.known = false};

	master = 1;
	CHECK_EQ(take(&s, 0, 50, UINT64_MAX, NOW), SECRETS_CHANGED);
	CHECK(!secrets_advance(&s, NOW));
	check_valid(&s, 3, 50, 49, 51);
}

int main(void)
{
	RUN(test_slots);
	RUN(test_masters);
	RUN(test_no_overflow);
	return check_done("gateway.secrets");
}
