/*
 * Load on the control plane: service instances and gateways on real sockets, each a member of one registry. Writes their authorised keys,
 * then takes commands on standard input (phase.h) and answers each with a line of JSON. tests/bench/run_control drives it.
 *
 *     bench_control AUTHORIZED_KEYS SERVICES GATEWAYS REGISTRATIONS WHOLE PATIENCE_SECONDS
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>

#include "tests/bench/control/phase.h"

#define EVENTS 256
#define TICK_MS 20
#define STDIN UINT64_MAX
#define SOCKETS_OF_WHOLE 6u    /* two, two monitors, and what 0MQ opens for those */
#define DESCRIPTORS 2u         /* of a socket: its own and its connection's */
#define OTHERS 64u

static unsigned number(const char *text, unsigned max)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || v > max) {
		fprintf(stderr, "control: %s: a number up to %u is wanted\n", text, max);
		exit(2);
	}
	return (unsigned)v;
}

/* The machine's limits, and 0MQ's, or a line that says what is needed. */
static bool raise_limits(struct control *c)
{
	unsigned sockets = 2 * (c->nr - c->w.nr_whole) + SOCKETS_OF_WHOLE * c->w.nr_whole + OTHERS, files = DESCRIPTORS * sockets;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return false;
	if (limit.rlim_max < files) {
		fprintf(stderr, "control: %u descriptors are needed, and the hard limit is %lu: ulimit -Hn\n", files,
			(unsigned long)limit.rlim_max);
		return false;
	}
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0 && zmq_ctx_set(c->w.zmq, ZMQ_MAX_SOCKETS, (int)sockets) == 0;
}

/* Each member has a key of its own, and each service domains of its own. */
static bool write_keys(const struct control *c, const char *path)
{
	FILE *f = fopen(path, "w");

	if (f == NULL)
		return false;
	fputs("# serial 1\n", f);
	for (unsigned i = 0; i < c->nr; i++) {
		if (world_is_service(&c->w, i))
			fprintf(f, "%s service *.s%u.example:client,server\n", c->members[i].key.public_z85, i);
		else
			fprintf(f, "%s gateway\n", c->members[i].key.public_z85);
	}
	return fclose(f) == 0;
}

static bool make_members(struct control *c)
{
	c->members = calloc(c->nr, sizeof(*c->members));
	c->wholes = calloc(c->nr, sizeof(struct whole *));
	for (unsigned i = 0; c->members != NULL && c->wholes != NULL && i < c->nr; i++) {
		c->members[i].index = i;
		if (svc_key_make(&c->members[i].key) != 0)
			return false;
	}
	return c->members != NULL && c->wholes != NULL;
}

static void on_event(struct control *c, uint64_t tag, uint64_t now_ms)
{
	if (tag >= 2ull * c->nr)
		whole_advance(c->wholes[tag - 2ull * c->nr], now_ms);
	else
		member_read(&c->members[tag / 2], (enum member_socket)(tag % 2));
}

static void tick(struct control *c, uint64_t now_ms)
{
	for (unsigned i = 0; i < c->nr; i++) {
		if (c->wholes[i] != NULL)
			whole_advance(c->wholes[i], now_ms);
		else if (c->members[i].sockets[0] != NULL)
			member_tick(&c->members[i], now_ms);
	}
}

/* 1: go on; 0: the end of input; -1: what came is no command, or came too early. */
static int read_command(struct control *c)
{
	static char line[512];
	static size_t n;
	char *nl;
	ssize_t got = read(STDIN_FILENO, line + n, sizeof(line) - 1 - n);

	if (got <= 0)
		return got < 0 && errno == EAGAIN ? 1 : (int)got;
	n += (size_t)got;
	nl = memchr(line, '\n', n);
	if (nl == NULL)
		return n < sizeof(line) - 1 ? 1 : -1;
	*nl = '\0';
	n = 0;
	return c->step == NULL && phase_begin(c, line) ? 1 : -1;
}

static int run(struct control *c)
{
	struct epoll_event events[EVENTS];
	uint64_t tick_at_ms = 0;
	int rc = 1;

	while (rc > 0) {
		int nr = epoll_wait(c->w.epoll, events, EVENTS, TICK_MS);
		uint64_t now_ms = world_now_ms();

		for (int i = 0; i < nr && rc > 0; i++) {
			if (events[i].data.u64 == STDIN)
				rc = read_command(c);
			else
				on_event(c, events[i].data.u64, now_ms);
		}
		if (now_ms >= tick_at_ms) {
			tick(c, now_ms);
			tick_at_ms = world_now_ms() + TICK_MS;
		}
		if (rc > 0 && !phase_advance(c, world_now_ms()))
			rc = -1;
	}
	return rc;
}

static void end(struct control *c)
{
	for (unsigned i = 0; i < c->nr; i++) {
		whole_free(c->wholes[i]);
		member_close(&c->members[i]);
	}
	zmq_ctx_term(c->w.zmq);
	close(c->w.epoll);
	free(c->members);
	free(c->wholes);
	free(c->w.seen_us);
	free(c->last_us);
}

int main(int argc, char **argv)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = STDIN };
	struct control c = { .nr = 0 };
	int rc;

	if (argc != 7) {
		fprintf(stderr, "usage: bench_control AUTHORIZED_KEYS SERVICES GATEWAYS REGISTRATIONS WHOLE PATIENCE_SECONDS\n");
		return 2;
	}
	c.w.nr_services = number(argv[2], 10000);
	c.w.nr_gateways = number(argv[3], 10000);
	c.w.registrations = number(argv[4], 1000);
	c.w.nr_whole = number(argv[5], c.w.nr_services < c.w.nr_gateways ? c.w.nr_services : c.w.nr_gateways);
	c.patience_ms = 1000ull * number(argv[6], 100000);
	c.nr = c.w.nr_services + c.w.nr_gateways;
	c.w.zmq = zmq_ctx_new();
	c.w.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!raise_limits(&c) || !make_members(&c) || !write_keys(&c, argv[1]) || fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) != 0 ||
	    epoll_ctl(c.w.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &ev) != 0) {
		perror("control");
		return 1;
	}
	puts("{\"phase\": \"keys\"}");
	fflush(stdout);
	rc = run(&c);
	end(&c);
	return rc == 0 ? 0 : 1;
}
