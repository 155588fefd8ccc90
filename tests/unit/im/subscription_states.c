/* The tables of RFC 6121 appendix A, written down as they stand there: state, whether it passes, new state. "=" is no change. */
#include "services/im/store.h"
#include "services/im/subscription_table.h"
#include "tests/unit/check.h"

static const struct { const char *name; unsigned bits; } states[] = {
	{"None", 0},
	{"None+Out", SUB_PENDING_OUT},
	{"None+In", SUB_PENDING_IN},
	{"None+OutIn", SUB_PENDING_OUT | SUB_PENDING_IN},
	{"To", SUB_TO},
	{"To+In", SUB_TO | SUB_PENDING_IN},
	{"From", SUB_FROM},
	{"From+Out", SUB_FROM | SUB_PENDING_OUT},
	{"Both", SUB_TO | SUB_FROM},
};
enum { NR_STATES = 9 };

struct table {
	const char *title;
	enum sub_direction direction;
	enum sub_type type;
	struct { char pass; const char *next; } rows[NR_STATES];
};

static const struct table tables[] = {
	{"A.2.1",
	 SUB_OUTBOUND,
	 SUB_SUBSCRIBE,
	 {{'y', "None+Out"},
	  {'y', "="},
	  {'y', "None+OutIn"},
	  {'y', "="},
	  {'y', "="},
	  {'y', "="},
	  {'y', "From+Out"},
	  {'y', "="},
	  {'y', "="}}},
	{"A.2.2",
	 SUB_OUTBOUND,
	 SUB_UNSUBSCRIBE,
	 {{'y', "="},
	  {'y', "None"},
	  {'y', "="},
	  {'y', "None+In"},
	  {'y', "None"},
	  {'y', "None+In"},
	  {'y', "="},
	  {'y', "From"},
	  {'y', "From"}}},
	{"A.2.3",
	 SUB_OUTBOUND,
	 SUB_SUBSCRIBED,
	 {{'n', "="}, {'n', "="}, {'y', "From"}, {'y', "From+Out"}, {'n', "="}, {'y', "Both"}, {'n', "="}, {'n', "="}, {'n', "="}}},
	{"A.2.4",
	 SUB_OUTBOUND,
	 SUB_UNSUBSCRIBED,
	 {{'n', "="},
	  {'n', "="},
	  {'y', "None"},
	  {'y', "None+Out"},
	  {'n', "="},
	  {'y', "To"},
	  {'y', "None"},
	  {'y', "None+Out"},
	  {'y', "To"}}},
	{"A.3.1",
	 SUB_INBOUND,
	 SUB_SUBSCRIBE,
	 {{'y', "None+In"}, {'y', "None+OutIn"}, {'n', "="}, {'n', "="}, {'y', "To+In"}, {'n', "="}, {'n', "="}, {'n', "="}, {'n', "="}}},
	{"A.3.2",
	 SUB_INBOUND,
	 SUB_UNSUBSCRIBE,
	 {{'n', "="},
	  {'n', "="},
	  {'y', "None"},
	  {'y', "None+Out"},
	  {'n', "="},
	  {'y', "To"},
	  {'y', "None"},
	  {'y', "None+Out"},
	  {'y', "To"}}},
	{"A.3.3",
	 SUB_INBOUND,
	 SUB_SUBSCRIBED,
	 {{'n', "="}, {'y', "To"}, {'n', "="}, {'y', "To+In"}, {'n', "="}, {'n', "="}, {'n', "="}, {'y', "Both"}, {'n', "="}}},
	{"A.3.4",
	 SUB_INBOUND,
	 SUB_UNSUBSCRIBED,
	 {{'n', "="},
	  {'y', "None"},
	  {'n', "="},
	  {'y', "None+In"},
	  {'y', "None"},
	  {'y', "None+In"},
	  {'n', "="},
	  {'y', "From"},
	  {'y', "From"}}},
};

static unsigned bits_of(const char *name, unsigned same)
{
	for (size_t i = 0; i < NR_STATES; i++) {
		if (strcmp(states[i].name, name) == 0)
			return states[i].bits;
	}
	return strcmp(name, "=") == 0 ? same : ~0u;
}

static void all_states_and_types(void)
{
	for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
		for (size_t i = 0; i < NR_STATES; i++) {
			struct sub_step step = sub_step(tables[t].direction, tables[t].type, states[i].bits);
			bool good = step.pass == (tables[t].rows[i].pass == 'y') &&
				    step.next == bits_of(tables[t].rows[i].next, states[i].bits);
			CHECK(good);
			if (!good)
				fprintf(stderr, "  %s %s: pass %d, next %x\n", tables[t].title, states[i].name, step.pass, step.next);
		}
	}
}

static void names(void)
{
	enum sub_type type;
	CHECK(sub_type_parse(SLICE("unsubscribed"), &type) && type == SUB_UNSUBSCRIBED);
	CHECK(!sub_type_parse(SLICE("probe"), &type));
	for (unsigned i = 0; i < SUB_TYPE_MAX_; i++)
		CHECK(sub_type_parse(slice_str(sub_type_name((enum sub_type)i)), &type) && type == i);
}

int main(void)
{
	RUN(all_states_and_types);
	RUN(names);
	return check_done("im.subscription_states");
}
