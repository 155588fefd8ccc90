#include <stdio.h>
#include <stdlib.h>

#include "script.h"
#include "stream/gate.h"

/*
 * script_player FILE…: plays each transcript whole, byte by byte and at random cuts.
 * script_player --coverage FILE…: plays all whole, and fails unless every row of the gate's table, its default, and every end that the
 * machine comes to by itself were met. script_player --corpus FILE: writes the fuzzers' seed to standard output.
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

/* Ends that only an owner, or a connection, asks for: nothing in a stream leads there. */
static bool of_the_owner(enum close_reason r)
{
	switch (r) {
	case CLOSE_LOST:
	case CLOSE_CONNECT_FAILED:
	case CLOSE_DONE:
	case CLOSE_SHUTDOWN:
	case CLOSE_SERVICE_LOST:
	case CLOSE_CONFLICT:
	case CLOSE_HOST_GONE:
	case CLOSE_REMOTE_CONNECTION_FAILED:
	case CLOSE_RESET:
	case CLOSE_RESOURCE_CONSTRAINT:
	case CLOSE_SLOW_READER:
		return true;
	default:
		return false;
	}
}

static int coverage(int nr_files, char **files)
{
	unsigned closes[CLOSE_MAX_ + 1] = {0}, failed = 0, passed = 0;
	const struct gate_rule *rules;
	size_t nr;

	for (int i = 0; i < nr_files; i++) {
		struct script *s = script_read(files[i]);

		if (s == NULL || !script_play(s, PLAY_WHOLE))
			failed++;
		if (s == NULL)
			continue;
		closes[script_closed(s)]++;
		script_free(s);
	}
	rules = gate_rules(&nr);
	ASSERT(nr <= ARRAY_LEN(row_hits));
	for (size_t i = 0; i < nr; i++) {
		if (row_hits[i] > 0)
			passed++;
		else
			fprintf(stderr, "no transcript meets row %zu of the gate: %s %s\n", i, rules[i].ns ? rules[i].ns : "*",
				rules[i].name ? rules[i].name : "*");
		failed += row_hits[i] == 0;
	}
	for (unsigned r = 0; r < CLOSE_MAX_; r++) {
		if (closes[r] > 0)
			passed++;
		else if (!of_the_owner((enum close_reason)r) && ++failed)
			fprintf(stderr, "no transcript ends with %s\n", close_word((enum close_reason)r));
	}
	if (refusals == 0 && ++failed)
		fprintf(stderr, "no transcript meets the gate's default\n");
	printf("script.coverage: %u passed, %u failed\n", passed, failed);
	return failed ? 1 : 0;
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
