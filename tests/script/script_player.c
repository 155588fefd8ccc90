#include <stdio.h>
#include <stdlib.h>

#include "script.h"
#include "stream/gate.h"

/*
 * script_player FILE…: plays each transcript whole, byte by byte and at random cuts.
 * script_player --coverage FILE…: plays all whole, and fails unless every row of the gate's table, its default and every end of close.def
 * was met, and every stream error and SASL failure of RFC 6120 was sent. script_player --corpus FILE: writes the fuzzers' seed to standard
 * output.
 */

#define NR_SEEDS 20

static unsigned row_hits[64], refusals;

/* Linked by --wrap=gate_find: the walker itself counts nothing. */
const struct gate_rule *__real_gate_find(const struct stream *s, const struct xml_element *e);
const struct gate_rule *__wrap_gate_find(const struct stream *s, const struct xml_element *e);

const struct gate_rule *__wrap_gate_find(const struct stream *s, const struct xml_element *e)
{
	const struct gate_rule *r = __real_gate_find(s, e);
	size_t nr;

	if (r != NULL)
		row_hits[r - gate_rules(&nr)]++;
	else
		refusals++;
	return r;
}

/* RFC 6120 section 4.9.3, whole: a service may ask for each of them. */
static const char *const stream_conditions[] = {
	"bad-format",
	"bad-namespace-prefix",
	"conflict",
	"connection-timeout",
	"host-gone",
	"host-unknown",
	"improper-addressing",
	"internal-server-error",
	"invalid-from",
	"invalid-namespace",
	"invalid-xml",
	"not-authorized",
	"not-well-formed",
	"policy-violation",
	"remote-connection-failed",
	"reset",
	"resource-constraint",
	"restricted-xml",
	"see-other-host",
	"system-shutdown",
	"undefined-condition",
	"unsupported-encoding",
	"unsupported-feature",
	"unsupported-stanza-type",
	"unsupported-version",
	NULL,
};
/* RFC 6120 section 6.5, whole. */
static const char *const sasl_conditions[] = {
	"aborted", "account-disabled", "credentials-expired", "encryption-required", "incorrect-encoding", "invalid-authzid",
	"invalid-mechanism", "malformed-request", "mechanism-too-weak", "not-authorized", "temporary-auth-failure", NULL,
};

struct tally {
	unsigned passed, failed;
};

static void count(struct tally *t, bool ok, const char *what, const char *name)
{
	if (ok)
		t->passed++;
	else
		t->failed++;
	if (!ok)
		fprintf(stderr, "no transcript %s %s\n", what, name);
}

/* On the wire, not in a table: `format` with a name in it was sent by some transcript. */
static void count_sent(struct tally *t, struct slice sent, const char *format, const char *const *names)
{
	char want[200];

	for (; *names != NULL; names++) {
		int n = snprintf(want, sizeof want, "%s<%s", format, *names);

		/* the name's end: "not-authorized" is no sign of a longer one */
		const char *at = memmem(sent.p, sent.n, want, (size_t)n);
		count(t, at != NULL && (at[n] == ' ' || at[n] == '/' || at[n] == '>'), "sends", want);
	}
}

static void count_rows(struct tally *t)
{
	size_t nr;
	const struct gate_rule *rules = gate_rules(&nr);
	char row[100];

	ASSERT(nr <= ARRAY_LEN(row_hits));
	for (size_t i = 0; i < nr; i++) {
		snprintf(row, sizeof row, "%zu of the gate: %s %s", i, rules[i].ns ? rules[i].ns : "*",
			 rules[i].name ? rules[i].name : "*");
		count(t, row_hits[i] > 0, "meets row", row);
	}
	count(t, refusals > 0, "meets", "the gate's default");
}

static int coverage(int nr_files, char **files)
{
	unsigned closes[CLOSE_MAX_ + 1] = {0};
	struct tally t = {0};
	struct buf sent;

	buf_init(&sent, 1 << 24);
	play_tap(&sent);
	for (int i = 0; i < nr_files; i++) {
		struct script *s = script_read(files[i]);

		count(&t, s != NULL && script_play(s, PLAY_WHOLE), "plays:", files[i]);
		if (s == NULL)
			continue;
		closes[script_closed(s)]++;
		script_free(s);
	}
	play_tap(NULL);
	count_rows(&t);
	for (unsigned r = 0; r < CLOSE_MAX_; r++)
		count(&t, closes[r] > 0, "ends with", close_word((enum close_reason)r));
	count_sent(&t, buf_slice(&sent), "<stream:error>", stream_conditions);
	count_sent(&t, buf_slice(&sent), "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>", sasl_conditions);
	buf_clear(&sent);
	printf("script.coverage: %u passed, %u failed\n", t.passed, t.failed);
	return t.failed ? 1 : 0;
}

static int corpus(const char *file)
{
	struct script *s = script_read(file);
	struct slice bytes;
	struct buf out;

	if (s == NULL)
		return 1;
	buf_init(&out, 1 << 24);
	script_corpus(s, &out);
	bytes = buf_slice(&out);
	fwrite(bytes.p, 1, bytes.n, stdout);
	buf_clear(&out);
	script_free(s);
	return 0;
}

static bool play_all_ways(struct script *s, const char *file)
{
	bool ok = script_play(s, PLAY_WHOLE);

	if (ok && !script_play(s, PLAY_BYTES)) {
		fprintf(stderr, "%s: fails byte by byte\n", file);
		ok = false;
	}
	for (unsigned seed = 2; ok && seed < 2 + NR_SEEDS; seed++) {
		if (!script_play(s, seed * 2654435761u)) {
			fprintf(stderr, "%s: fails with the cuts of seed %u\n", file, seed);
			ok = false;
		}
	}
	return ok;
}

int main(int argc, char **argv)
{
	unsigned passed = 0, failed = 0;

	if (argc > 2 && strcmp(argv[1], "--coverage") == 0)
		return coverage(argc - 2, argv + 2);
	if (argc == 3 && strcmp(argv[1], "--corpus") == 0)
		return corpus(argv[2]);
	for (int i = 1; i < argc; i++) {
		struct script *s = script_read(argv[i]);

		if (s != NULL && play_all_ways(s, argv[i]))
			passed++;
		else
			failed++;
		if (s != NULL)
			script_free(s);
	}
	printf("script: %u passed, %u failed\n", passed, failed);
	return failed > 0 || passed == 0 ? 1 : 0;
}
