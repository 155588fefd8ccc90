#include "script.h"

#include <stdio.h>
#include <stdlib.h>

#include "../fuzz/fuzz_marks.h"

/* A transcript in memory is a list of lines, `use` replaced by the lines of the part; playing walks it. Expectations are matched, never
 * compared by position. */

enum kind { LINE_PEER, LINE_SENT, LINE_EVENT, LINE_SILENT, LINE_ACT, LINE_INSIDE };

struct line {
	enum kind kind;
	const char *file;
	unsigned number;
	char *text;                     /* unescaped for LINE_PEER */
	size_t text_n;
	char *words[PLAY_WORDS];
	unsigned nr_words;
};

struct script {
	struct play_config config;
	struct line *lines;
	size_t nr_lines;
	char *files[32];
	unsigned nr_files;
	bool has_role;
	enum close_reason closed;       /* of the last play */
};

/* --- reading --------------------------------------------------------------- */

static bool complain(const char *file, unsigned number, const char *what, const char *text)
{
	fprintf(stderr, "%s:%u: %s: %s\n", file, number, what, text);
	return false;
}

/* Words are parted by spaces; 'quoted words' may hold some. */
static unsigned split(const char *text, char **words)
{
	unsigned nr = 0;

	while (nr < PLAY_WORDS) {
		const char *end;

		text += strspn(text, " ");
		if (*text == '\0')
			break;
		if (*text == '\'') {
			end = strchr(++text, '\'');
			if (end == NULL)
				end = text + strlen(text);
		} else {
			end = text + strcspn(text, " ");
		}
		words[nr++] = mem_slicedup((struct slice){text, (size_t)(end - text)});
		text = *end == '\'' ? end + 1 : end;
	}
	return nr;
}

static void free_words(char **words, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		free(words[i]);
}

static void take_list(const char **list, char **words, unsigned nr)
{
	for (unsigned i = 0; i < PLAY_WORDS; i++) {
		free((char *)list[i]);
		list[i] = i + 1 < nr ? mem_strdup(words[i + 1]) : NULL;
	}
}

static bool take_limit(struct stream_limits *l, const char *name, const char *value)
{
	const struct { const char *name; unsigned *u; size_t *z;
	} fields[] = {
	    {"negotiation", &l->negotiation_ms, NULL},
	    {"tls", &l->tls_ms, NULL},
	    {"close", &l->close_ms, NULL},
	    {"ack", &l->ack_ms, NULL},
	    {"keepalive", &l->keepalive_ms, NULL},
	    {"idle", &l->idle_ms, NULL},
	    {"hold", &l->hold_ms, NULL},
	    {"unfinished", &l->unfinished_ms, NULL},
	    {"attempts", &l->auth_attempts_max, NULL},
	    {"element", NULL, &l->after_auth.element_bytes},
	    {"element-before", NULL, &l->before_auth.element_bytes},
	    {"negotiation-bytes", NULL, &l->negotiation_bytes},
	    {"negotiation-blanks", NULL, &l->negotiation_blanks},
	    {"depth", &l->after_auth.depth_max, NULL},
	    {"attributes", &l->after_auth.attrs_max, NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		if (strcmp(fields[i].name, name) != 0)
			continue;
		if (fields[i].u != NULL)
			*fields[i].u = (unsigned)strtoul(value, NULL, 10);
		else
			*fields[i].z = strtoul(value, NULL, 10);
		return true;
	}
	return false;
}

static bool take_role(struct script *s, char **w, unsigned nr)
{
	static const char *const names[] = {"c2s", "s2s-in", "s2s-out"};
	struct stream_params *p = &s->config.params;

	for (unsigned i = 0; nr > 1 && i < ARRAY_LEN(names); i++) {
		if (strcmp(names[i], w[1]) == 0) {
			p->role = (enum stream_role)i;
			s->has_role = true;
		}
	}
	for (unsigned i = 2; i < nr; i++) {
		if (strcmp(w[i], "direct") == 0)
			p->direct_tls = true;
		else if (strcmp(w[i], "verify-only") == 0)
			p->verify_only = true;
		else if (strcmp(w[i], "bidi") == 0)
			p->bidi = true;
		else if (strcmp(w[i], "certificate") == 0)
			s->config.own_certificate = true;
		else if (strcmp(w[i], "unacceptable") == 0)
			s->config.peer_unacceptable = true;
		else if (strcmp(w[i], "no-key") == 0)
			s->config.no_key = true;
		else if (strcmp(w[i], "asks-peer") == 0)
			s->config.asks_peer = true;
		else if (strcmp(w[i], "certificates-only") == 0)
			s->config.certificates_only = true;
		else
			return false;
	}
	return s->has_role;
}

/* True when the line was a setting. *ok tells whether it was a good one. */
static bool take_setting(struct script *s, char **w, unsigned nr, bool *ok)
{
	*ok = true;
	if (nr == 0)
		return false;
	if (strcmp(w[0], "role") == 0)
		*ok = take_role(s, w, nr);
	else if (strcmp(w[0], "hosts") == 0)
		take_list(s->config.hosts, w, nr);
	else if (strcmp(w[0], "mechanisms") == 0)
		take_list(s->config.mechs, w, nr);
	else if (strcmp(w[0], "bindings") == 0)
		take_list(s->config.bindings, w, nr);
	else if (strcmp(w[0], "limit") == 0)
		*ok = nr == 3 && take_limit(&s->config.limits, w[1], w[2]);
	else if (strcmp(w[0], "moved") == 0 && nr == 2)
		s->config.see_other_host = mem_strdup(w[1]);
	else
		return false;
	return true;
}

static struct line *add_line(struct script *s, enum kind kind, const char *file, unsigned number)
{
	struct line *l;

	s->lines = mem_resize(s->lines, (s->nr_lines + 1) * sizeof *s->lines);
	l = &s->lines[s->nr_lines++];
	*l = (struct line){.kind = kind, .file = file, .number = number};
	return l;
}

static void append(struct line *l, const char *text, const char *between)
{
	struct buf b;

	buf_init(&b, 1 << 24);
	if (buf_add(&b, l->text ? l->text : "", l->text_n) != 0 || buf_add_str(&b, l->text ? between : "") != 0)
		abort();
	if (l->kind == LINE_PEER)
		play_unescape(&b, slice_str(text));
	else if (buf_add_str(&b, text) != 0)
		abort();
	free(l->text);
	l->text_n = buf_len(&b);
	l->text = mem_slicedup(buf_slice(&b));
	buf_clear(&b);
}

/* "C*1000: x": a thousand times. */
static bool take_peer(struct script *s, const char *text, const char *file, unsigned number)
{
	unsigned long times = 1;
	struct line *l;

	if (text[1] == '*')
		times = strtoul(text + 2, NULL, 10);
	text = strchr(text, ':');
	if (text == NULL || times == 0)
		return false;
	text += text[1] == ' ' ? 2 : 1;
	l = add_line(s, LINE_PEER, file, number);
	append(l, text, "");
	if (times > 1) {
		char *all = mem_alloc(l->text_n * times + 1);

		for (unsigned long i = 0; i < times; i++)
			memcpy(all + i * l->text_n, l->text, l->text_n);
		free(l->text);
		l->text = all;
		l->text_n *= times;
	}
	return true;
}

static bool read_file(struct script *s, const char *path);

static bool use(struct script *s, const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	char *part = NULL;
	bool ok;

	if (asprintf(&part, "%.*s%s.part", slash ? (int)(slash - path + 1) : 0, path, name) < 0)
		abort();
	ok = read_file(s, part);
	free(part);
	return ok;
}

static bool take_words(struct script *s, const char *text, const char *file, unsigned number)
{
	char *words[PLAY_WORDS];
	unsigned nr = split(text, words), skip = 0;
	struct line *l;
	bool ok = true;

	if (take_setting(s, words, nr, &ok)) {
		free_words(words, nr);
		return ok;
	}
	if (nr == 2 && strcmp(words[0], "use") == 0) {
		ok = use(s, file, words[1]);
		free_words(words, nr);
		return ok;
	}
	l = add_line(s, nr == 1 && strcmp(words[0], "silent") == 0 ? LINE_SILENT : LINE_ACT, file, number);
	if (strcmp(words[0], "inside") == 0) {
		l->kind = LINE_INSIDE;
		free(words[0]);
		skip = 1;
	}
	l->nr_words = nr - skip;
	memcpy(l->words, words + skip, l->nr_words * sizeof *words);
	l->text = mem_strdup(text);
	return true;
}

static bool take_line(struct script *s, char *text, const char *file, unsigned number)
{
	struct line *last = s->nr_lines > 0 ? &s->lines[s->nr_lines - 1] : NULL;

	if (text[0] == '\0' || text[0] == '#')
		return true;
	if (text[0] == ' ' || text[0] == '\t') {
		if (last == NULL || last->kind > LINE_EVENT)
			return complain(file, number, "continues nothing", text);
		append(last, text + strspn(text, " \t"), last->kind == LINE_PEER ? "\n" : "");
		return true;
	}
	if (strncmp(text, "C:", 2) == 0 || strncmp(text, "C*", 2) == 0)
		return take_peer(s, text, file, number) || complain(file, number, "what?", text);
	if (strncmp(text, "S: ", 3) == 0) {
		append(add_line(s, LINE_SENT, file, number), text + 3, "");
		return true;
	}
	if (strncmp(text, "> ", 2) == 0) {
		append(add_line(s, LINE_EVENT, file, number), text + 2, "");
		return true;
	}
	return take_words(s, text, file, number) || complain(file, number, "what?", text);
}

static bool read_file(struct script *s, const char *path)
{
	char *line = NULL, *name = mem_strdup(path);
	FILE *f = fopen(path, "r");
	unsigned number = 0;
	size_t size = 0;
	ssize_t n;
	bool ok = true;

	if (f == NULL || s->nr_files == ARRAY_LEN(s->files)) {
		free(name);
		if (f != NULL)
			fclose(f);
		return complain(path, 0, "cannot be read", "");
	}
	s->files[s->nr_files++] = name;
	while (ok && (n = getline(&line, &size, f)) >= 0) {
		if (n > 0 && line[n - 1] == '\n')
			line[n - 1] = '\0';
		ok = take_line(s, line, name, ++number);
	}
	free(line);
	fclose(f);
	return ok;
}

struct script *script_read(const char *path)
{
	struct script *s = NEW(struct script);

	play_config_init(&s->config);
	s->closed = CLOSE_MAX_;
	if (read_file(s, path) && (s->has_role || complain(path, 1, "no role", "")))
		return s;
	script_free(s);
	return NULL;
}

void script_free(struct script *s)
{
	for (size_t i = 0; i < s->nr_lines; i++) {
		free(s->lines[i].text);
		free_words(s->lines[i].words, s->lines[i].nr_words);
	}
	for (unsigned i = 0; i < s->nr_files; i++)
		free(s->files[i]);
	free(s->lines);
	play_config_clear(&s->config);
	free(s);
}

enum stream_role script_role(const struct script *s)
{
	return s->config.params.role;
}

enum close_reason script_closed(const struct script *s)
{
	return s->closed;
}

/* --- playing ----------------------------------------------------------------- */

static bool wrong(const struct line *l, const char *what, struct slice got)
{
	struct buf b;

	buf_init(&b, 1 << 24);
	play_escape(&b, got);
	fprintf(stderr, "%s:%u: expected %s\n%s %s\n     got " SLICE_FMT "\n", l->file, l->number, what, "    want", l->text ? l->text : "",
		SLICE_ARG(buf_slice(&b)));
	buf_clear(&b);
	return false;
}

static bool play_line(struct play *p, const struct line *l)
{
	struct slice out = buf_slice(play_output(p));
	char *got;
	ssize_t n;
	bool ok;

	switch (l->kind) {
	case LINE_PEER:
		play_peer_says(p, (struct slice){l->text, l->text_n});
		return true;
	case LINE_SENT:
		n = play_match(l->text, out);
		if (n < 0)
			return wrong(l, "to be sent", out);
		buf_drain(play_output(p), (size_t)n);
		return true;
	case LINE_SILENT:
		return out.n == 0 || wrong(l, "silence", out);
	case LINE_EVENT:
		got = play_event(p);
		ok = got != NULL && play_match(l->text, slice_str(got)) == (ssize_t)strlen(got);
		if (!ok)
			wrong(l, "the event", slice_str(got ? got : "(none)"));
		free(got);
		return ok;
	case LINE_ACT:
		return play_act(p, (char **)l->words, l->nr_words) || complain(l->file, l->number, "what?", l->text);
	case LINE_INSIDE:
		play_act_inside(p, (char **)l->words, l->nr_words);
		return true;
	}
	return false;
}

static bool nothing_left(struct play *p, const struct script *s)
{
	struct line end = {.file = s->files[0], .text = NULL};
	char *event = play_event(p);
	bool ok = true;

	if (event != NULL)
		ok = wrong(&end, "no further event at the end", slice_str(event));
	free(event);
	if (buf_len(play_output(p)) > 0)
		ok = wrong(&end, "nothing further to be sent at the end", buf_slice(play_output(p)));
	if (play_has_inside(p))
		ok = wrong(&end, "the question that was to be answered inside", SLICE_NONE);
	return ok;
}

bool script_play(struct script *s, unsigned cut)
{
	struct play *p = play_new(&s->config, cut);
	bool ok = true;

	for (size_t i = 0; ok && i < s->nr_lines; i++)
		ok = play_line(p, &s->lines[i]);
	ok = ok && nothing_left(p, s);
	s->closed = play_closed(p);
	play_free(p);
	return ok;
}

/* --- seeds for the fuzzers ----------------------------------------------------- */

static void mark(struct buf *out, char c)
{
	const char m[2] = {FUZZ_MARK, c};

	if (buf_add(out, m, 2) != 0)
		abort();
}

static char mark_of(const struct line *l)
{
	static const struct { const char *a, *b; char mark;
	} marks[] = {
		{"tls", NULL, FUZZ_TLS},
		{"start", NULL, FUZZ_START},
		{"auth", "ok", FUZZ_AUTH_OK},
		{"auth", "challenge", FUZZ_AUTH_CHALLENGE},
		{"auth", "fail", FUZZ_AUTH_FAIL},
		{"bind", "ok", FUZZ_BIND_OK},
		{"bind", "no", FUZZ_BIND_NO},
		{"db", "valid", FUZZ_DB_VALID},
		{"db", "invalid", FUZZ_DB_INVALID},
		{"db", "error", FUZZ_DB_ERROR},
		{"verify", NULL, FUZZ_VERIFY},
		{"tick", NULL, FUZZ_TICK},
		{"ask-verify", NULL, FUZZ_ASK_VERIFY},
		{"ask-pair", NULL, FUZZ_ASK_PAIR},
		{"hold", "on", FUZZ_HOLD},
		{"hold", "off", FUZZ_UNHOLD},
		{"close", NULL, FUZZ_CLOSE},
		{"close-with", NULL, FUZZ_CLOSE_WITH},
		{"see-other", NULL, FUZZ_SEE_OTHER},
		{"lost", NULL, FUZZ_LOST},
		{"sm", "enabled", FUZZ_SM_ENABLED},
		{"sm", "failed", FUZZ_SM_FAILED},
		{"sm", "resumed", FUZZ_SM_RESUMED},
		{"sm", "h", FUZZ_SM_H},
		{"sent", NULL, FUZZ_SENT},
	};

	for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
		if (l->nr_words > 0 && strcmp(l->words[0], marks[i].a) == 0 &&
		    (marks[i].b == NULL || (l->nr_words > 1 && strcmp(l->words[1], marks[i].b) == 0)))
			return marks[i].mark;
	}
	return '\0';
}

void script_corpus(const struct script *s, struct buf *out)
{
	const struct stream_params *p = &s->config.params;
	char first = (char)((p->role == STREAM_S2S_OUT ? FUZZ_OUT : 0) | (p->direct_tls ? FUZZ_DIRECT : 0) |
			    (p->verify_only ? FUZZ_VERIFY_ONLY : 0) | (s->config.own_certificate ? FUZZ_CERTIFICATE : 0) |
			    (s->config.certificates_only ? FUZZ_CERTIFICATES_ONLY : 0));

	if (buf_add(out, &first, 1) != 0)
		abort();
	for (size_t i = 0; i < s->nr_lines; i++) {
		const struct line *l = &s->lines[i];

		if (l->kind == LINE_PEER && buf_add(out, l->text, l->text_n) != 0)
			abort();
		if (l->kind == LINE_ACT && mark_of(l) != '\0')
			mark(out, mark_of(l));
		if (l->kind == LINE_INSIDE && mark_of(l) != '\0')
			mark(out, mark_of(l));
	}
}
