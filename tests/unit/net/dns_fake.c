#include "dns_fake.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CNAME = 5, SRV = 33, A = 1, AAAA = 28, ASKED_MAX = 512 };

struct asked {
	char name[256];
	unsigned type;
};

struct fake {
	const struct fake_record *zone;
	struct event ev;
	int fd;
	char address[40];
	struct asked asked[ASKED_MAX];
	unsigned nr_asked;
};

struct packet {
	unsigned char p[4096];
	size_t n;
	unsigned nr_answers;
};

static void put16(struct packet *out, unsigned v)
{
	out->p[out->n++] = (unsigned char)(v >> 8);
	out->p[out->n++] = (unsigned char)v;
}

static void put_name(struct packet *out, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");

		out->p[out->n++] = (unsigned char)n;
		memcpy(out->p + out->n, name, n);
		out->n += n;
		name += n + (name[n] == '.');
	}
	out->p[out->n++] = 0;
}

static void put_data(struct packet *out, const struct fake_record *r)
{
	unsigned prio, weight, port;
	char host[256] = "";

	switch (r->type) {
	case A:
		out->n += inet_pton(AF_INET, r->data, out->p + out->n) == 1 ? 4u : 0u;
		break;
	case AAAA:
		out->n += inet_pton(AF_INET6, r->data, out->p + out->n) == 1 ? 16u : 0u;
		break;
	case CNAME:
		put_name(out, r->data);
		break;
	default:
		sscanf(r->data, "%u %u %u %255s", &prio, &weight, &port, host);
		put16(out, prio);
		put16(out, weight);
		put16(out, port);
		put_name(out, strcmp(host, ".") == 0 ? "" : host);
	}
}

static void put_record(struct packet *out, const struct fake_record *r)
{
	put_name(out, r->name);
	put16(out, r->type);
	put16(out, 1);
	put16(out, 0);
	put16(out, 60);
	size_t at = out->n;
	out->n += 2;
	put_data(out, r);
	out->p[at] = (unsigned char)((out->n - at - 2) >> 8);
	out->p[at + 1] = (unsigned char)(out->n - at - 2);
	out->nr_answers++;
}

/* The answer's code; -1: say nothing. */
static int answer(const struct fake *f, struct packet *out, const char *name, unsigned type)
{
	bool exists = false;
	char at[256];

	snprintf(at, sizeof at, "%s", name);
	for (const struct fake_record *r = f->zone; r->name; r++) {
		if (strcasecmp(r->name, at) != 0)
			continue;
		exists = true;
		if (r->rcode != 0)
			return r->rcode;
		if (r->data == NULL || (r->type != type && r->type != CNAME))
			continue;
		put_record(out, r);
		if (r->type == CNAME && type != CNAME) {
			snprintf(at, sizeof at, "%s", r->data);
			r = f->zone - 1;
		}
	}
	return exists ? 0 : 3;
}

static size_t read_name(const unsigned char *p, size_t n, char *name, size_t size)
{
	size_t at = 12, len = 0;

	while (at < n && p[at] != 0) {
		size_t label = p[at++];

		if (at + label >= n || len + label + 2 > size)
			return 0;
		if (len)
			name[len++] = '.';
		memcpy(name + len, p + at, label);
		len += label;
		at += label;
	}
	name[len] = '\0';
	return at + 5 <= n ? at + 1 : 0;
}

static void on_query(evutil_socket_t fd, short what, void *arg)
{
	struct fake *f = arg;
	unsigned char q[2048];
	struct sockaddr_storage from;
	socklen_t from_n = sizeof from;
	ssize_t n = recvfrom(fd, q, sizeof q, 0, (struct sockaddr *)&from, &from_n);
	char name[256];

	(void)what;
	if (n < 12)
		return;
	size_t end = read_name(q, (size_t)n, name, sizeof name);
	if (end == 0)
		return;
	unsigned type = (unsigned)q[end] << 8 | q[end + 1];
	if (f->nr_asked < ASKED_MAX) {
		snprintf(f->asked[f->nr_asked].name, sizeof name, "%s", name);
		f->asked[f->nr_asked++].type = type;
	}
	struct packet out = {.n = end + 4};
	memcpy(out.p, q, end + 4);
	int rcode = answer(f, &out, name, type);
	if (rcode < 0)
		return;
	out.p[2] = 0x81;
	out.p[3] = (unsigned char)(0x80 | rcode);
	out.p[4] = 0;
	out.p[5] = 1;
	memset(out.p + 6, 0, 6);
	out.p[7] = (unsigned char)out.nr_answers;
	(void)!sendto(fd, out.p, out.n, 0, (struct sockaddr *)&from, from_n);
}

struct fake *fake_new(struct loop *l, const struct fake_record *zone)
{
	struct fake *f = NEW(struct fake);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;

	f->zone = zone;
	f->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	ASSERT(f->fd >= 0 && bind(f->fd, (struct sockaddr *)&at, sizeof at) == 0 && getsockname(f->fd, (struct sockaddr *)&at, &len) == 0);
	snprintf(f->address, sizeof f->address, "127.0.0.1:%u", ntohs(at.sin_port));
	event_assign(&f->ev, loop_base(l), f->fd, EV_READ | EV_PERSIST, on_query, f);
	event_add(&f->ev, NULL);
	return f;
}

void fake_free(struct fake *f)
{
	event_del(&f->ev);
	close(f->fd);
	free(f);
}

const char *fake_address(const struct fake *f)
{
	return f->address;
}

unsigned fake_asked(const struct fake *f, const char *name, unsigned type)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < f->nr_asked; i++)
		nr += f->asked[i].type == type && strcasecmp(f->asked[i].name, name) == 0;
	return nr;
}
