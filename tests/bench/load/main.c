/*
 * The load: XMPP clients over TLS 1.3 against any server, driven by commands on standard input, each answered by a line of JSON.
 * tests/bench/run drives it.
 *
 *     BENCH_PASSWORD=… bench_load CA.pem CLIENTS USERS DOMAIN:PORT [DOMAIN:PORT]
 *
 * The accounts u0, u1, … (USERS of them, one password) are there. CLIENTS bounds how many may stay connected.
 */
#include <errno.h>
#include <openssl/err.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/prompt.h"
#include "tests/bench/load/load.h"

#define TICK_US 1000
#define SOURCES 200u
#define SILENCE_US 60000000   /* nothing came for so long: the command has failed */

static struct load the_load;

static const struct phase *const phases[] = {&phase_login, &phase_connect, &phase_close, &phase_chat,
					     &phase_open,  &phase_one,     &phase_serial, &phase_storm};

_Noreturn static void die(const char *why)
{
	fprintf(stderr, "bench_load: %s\n", why);
	exit(1);
}

bool load_number(const char *word, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(word, &end, 10);
	return errno == 0 && *word >= '0' && *word <= '9' && *end == '\0' && *out >= min && *out <= max;
}

void load_error(struct load *l, const char *what)
{
	if (l->errors++ == 0)
		snprintf(l->error, sizeof l->error, "%s", what);
}

unsigned load_target(const struct load *l, const struct client *c)
{
	return (unsigned)(c->w - l->targets);
}

void load_done(struct load *l)
{
	const struct phase *p = l->phase;

	if (p == NULL)
		return;
	l->phase = NULL;
	printf("{\"command\":\"%s\",\"seconds\":%.3f,\"errors\":%llu,\"error\":\"%s\"", p->name, (double)(now_us() - l->began_us) / 1e6,
		(unsigned long long)l->errors, l->error);
	if (p->print)
		p->print(l, stdout);
	puts("}");
	fflush(stdout);
}

static void on_online(struct client *c)
{
	const char *group = SSL_group_to_name(c->ssl, SSL_get_negotiated_group(c->ssl));

	snprintf(the_load.suite, sizeof the_load.suite, "%s %s", SSL_get_cipher_name(c->ssl), group ? group : "?");
	if (the_load.phase && the_load.phase->online)
		the_load.phase->online(&the_load, c);
}

static void on_stanza(struct client *c, struct slice stanza)
{
	if (the_load.phase && the_load.phase->stanza)
		the_load.phase->stanza(&the_load, c, stanza);
	else
		the_load.nr_strays += scan_begins(stanza, "<message");
}

static void on_gone(struct client *c, const char *why)
{
	if (the_load.phase && the_load.phase->gone)
		the_load.phase->gone(&the_load, c, why);
}

/* How soon this process gives way to others: one that measures has short turns (common/prompt.h), one whose work is none of the machine's
 * that is measured runs while nobody else wants the processor, and leaves it as soon as somebody does. */
static bool turns(const char *value)
{
	if (strcmp(value, "short") == 0) {
		prompt_thread();
		return true;
	}
	return strcmp(value, "idle") == 0 && sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){0}) == 0;
}

/* Of those that connect from now on; turns at once. */
static bool setting(struct load *l, const char *name, const char *value)
{
	uint64_t first;

	if (strcmp(name, "turns") == 0)
		return turns(value);
	if (strcmp(name, "sm") == 0 && (strcmp(value, "on") == 0 || strcmp(value, "off") == 0)) {
		l->sm = strcmp(value, "on") == 0;
		return true;
	}
	if (strcmp(name, "mechanism") == 0)
		return load_mechanism(l, value);
	if (strcmp(name, "first") != 0 || !load_number(value, 0, UINT32_MAX, &first))
		return false;
	for (unsigned i = 0; i < l->nr_targets; i++)
		l->targets[i].first_user = (unsigned)first;
	return true;
}

static void command(struct load *l, char *line)
{
	char *words[16], *word;
	int nr = 0;

	while (nr < 16 && (word = strsep(&line, " ")) != NULL)
		if (*word != '\0')
			words[nr++] = word;
	if (nr == 2 && setting(l, words[0], words[1])) {
		puts("{}");
		fflush(stdout);
		return;
	}
	if (nr == 1 && strcmp(words[0], "strays") == 0) {
		printf("{\"command\":\"strays\",\"errors\":%llu,\"error\":\"a message that nobody awaits any more\"}\n",
			(unsigned long long)l->nr_strays);
		fflush(stdout);
		return;
	}
	if (nr == 1 && strcmp(words[0], "enough") == 0) {   /* answered by the command that it ends */
		if (l->phase && l->phase->enough)
			l->phase->enough(l);
		return;
	}
	for (size_t i = 0; nr > 0 && i < ARRAY_LEN(phases); i++) {
		const struct phase *p = phases[i];

		if (strcmp(words[0], p->name) != 0)
			continue;
		hist_clear(&l->latency);
		hist_clear(&l->late);
		l->errors = l->nr_delayed = 0;
		l->error[0] = '\0';
		l->began_us = l->progress_us = now_us();
		l->phase = p;
		if (p->start(l, words + 1, nr - 1))
			return;
		fprintf(stderr, "bench_load: %s %s\n", p->name, p->usage);
		exit(2);
	}
	die("an unknown command");
}

static void on_stdin(evutil_socket_t fd, short what, void *arg)
{
	static char line[1000];
	static size_t n;
	ssize_t got = read(fd, line + n, sizeof line - 1 - n);
	char *end;

	(void)what;
	if (got <= 0)
		exit(0);
	n += (size_t)got;
	line[n] = '\0';
	if ((end = strchr(line, '\n')) == NULL)
		return;
	*end = '\0';
	n = 0;
	command(arg, line);   /* the next one comes when this one was answered */
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct load *l = arg;
	uint64_t now = now_us();

	(void)fd;
	(void)what;
	if (l->phase && l->phase->tick)
		l->phase->tick(l, now);
	if (l->phase && l->phase != &phase_storm && now - l->progress_us > SILENCE_US) {
		load_error(l, "nothing came any more");
		load_done(l);
		exit(1);   /* what did not come may come yet, and its place is gone */
	}
}

void load_tick_at(struct load *l, uint64_t us)
{
	uint64_t now = now_us(), wait = us > now ? us - now : 0;
	struct timeval tv = {.tv_sec = (time_t)(wait / 1000000), .tv_usec = (suseconds_t)(wait % 1000000)};

	event_add(&l->due, &tv);
}

static SSL_CTX *tls_context(const char *ca)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

	/* One suite and one group, so that no server is compared by what it prefers. */
	if (tls == NULL || SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_ciphersuites(tls, "TLS_AES_128_GCM_SHA256") != 1 || SSL_CTX_set1_groups_list(tls, "X25519") != 1)
		die("TLS lacks what is wanted");
	if (SSL_CTX_load_verify_locations(tls, ca, NULL) != 1)
		die("the authority's certificate can't be read");
	SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(tls, client_ticket);
	return tls;
}

static void add_target(struct load *l, char *text, SSL_CTX *tls, unsigned nr_users)
{
	static const struct client_ops ops = {.online = on_online, .stanza = on_stanza, .gone = on_gone};
	struct client_world *w = &l->targets[l->nr_targets];
	char *colon = strrchr(text, ':');
	uint64_t port;

	if (colon == NULL || !load_number(colon + 1, 1, 65535, &port))
		die("DOMAIN:PORT is wanted");
	*colon = '\0';
	l->ports[l->nr_targets++] = (unsigned)port;
	*w = (struct client_world){.base = l->base,
				   .tls = tls,
				   .ops = &ops,
				   .domain = text,
				   .user_prefix = "u",
				   .password = getenv("BENCH_PASSWORD"),
				   .nr_users = nr_users,
				   .nr_sources = SOURCES,
				   .mechanism = "SCRAM-SHA-1",
				   .keys = calloc(nr_users, sizeof *w->keys)};
	if (w->password == NULL || w->keys == NULL)
		die("BENCH_PASSWORD is needed");
}

/* Without the flag timers run on the kernel's coarse clock: what a tick should send would leave up to 5 ms late. */
static struct event_base *precise_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config && event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0)
		base = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	return base;
}

int main(int argc, char **argv)
{
	struct load *l = &the_load;
	struct rlimit files;
	uint64_t clients, users;
	struct event in, tick;
	struct timeval each = {.tv_usec = TICK_US};
	SSL_CTX *tls;

	if (argc < 5 || argc > 4 + TARGETS || !load_number(argv[2], 0, 100000, &clients) || !load_number(argv[3], 1, 100000, &users)) {
		fputs("usage: bench_load CA.pem CLIENTS USERS DOMAIN:PORT [DOMAIN:PORT]\n", stderr);
		return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	l->base = precise_base();
	tls = tls_context(argv[1]);
	for (int i = 4; i < argc; i++)
		add_target(l, argv[i], tls, (unsigned)users);
	l->max = (unsigned)clients;
	l->clients = calloc(clients + 1, sizeof *l->clients);
	if (l->base == NULL || l->clients == NULL)
		die("no memory");
	event_assign(&in, l->base, STDIN_FILENO, EV_READ | EV_PERSIST, on_stdin, l);
	event_assign(&tick, l->base, -1, EV_PERSIST, on_tick, l);
	event_assign(&l->due, l->base, -1, 0, on_tick, l);
	event_add(&in, NULL);
	event_add(&tick, &each);
	event_base_dispatch(l->base);
	return 0;
}
