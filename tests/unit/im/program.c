/* The program itself, behind a gateway worker with nothing behind it: ready, a login, a message, kill -9, another domain, SIGTERM. */
#include "tests/unit/check.h"
#include "tests/unit/svcclient/fake_gateway.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct cluster c;
static struct fake_gateway g;
static pid_t pid;
static int out = -1;      /* the program's standard output */
static char ready[256];

static const struct turn all = {.fn = fake_gateway_turn, .arg = &g};

static bool is_up(void *arg)
{
	(void)arg;
	return fake_gateway_nr_up(&g) > 0;
}

static bool wait_for(const unsigned *counter, unsigned value)
{
	return turn_until_reached(&all, counter, value, 10000);
}

static void program_start(void)
{
	int fds[2];
	if (pipe(fds) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		close(fds[0]);
		execl(IM_PROGRAM, "ambrosia-im", "--state-dir", c.dir, "--domain", "a.example", "--domain", "b.example", "--log-level",
		      "warn", NULL);
		_exit(127);
	}
	close(fds[1]);
	out = fds[0];
	CHECK(turn_until(&all, is_up, NULL, 10000));
	ssize_t n = read(out, ready, sizeof ready - 1);
	ready[n > 0 ? n : 0] = 0;
}

static bool has_ended(void *arg)
{
	return waitpid(pid, arg, WNOHANG) == pid;
}

/* Its wait status; -1: it is still there. */
static int program_end(int sig)
{
	int status = -1;
	kill(pid, sig);
	if (!turn_until(&all, has_ended, &status, 10000)) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		status = -1;
	}
	close(out);
	return status;
}

static void begin(void)
{
	cluster_start(&c);
	fake_gateway_start(&g, &c, "tcp://127.0.0.1:*");
	program_start();
}

static void end(void)
{
	fake_gateway_stop(&g);
	cluster_stop(&c);
}

static struct svc_stream *login(const char *bare, const char *resource)
{
	unsigned accepted = g.accepted, stanzas = g.stanzas;
	char xml[256];
	struct svc_stream *s = fake_gateway_open_client(&g, bare, resource);
	CHECK(s && wait_for(&g.accepted, accepted + 1));
	snprintf(xml, sizeof xml, "<presence xmlns='jabber:client' from='%s/%s'/>", bare, resource);
	CHECK(s && svc_stream_send(s, xml, strlen(xml), 0, NULL) == 0);
	CHECK(wait_for(&g.stanzas, stanzas + 1));
	return s;
}

static void message(struct svc_stream *s, const char *from, const char *to, const char *body)
{
	char xml[512];
	snprintf(xml, sizeof xml, "<message xmlns='jabber:client' from='%s' to='%s' type='chat'><body>%s</body></message>", from, to, body);
	CHECK(s && svc_stream_send(s, xml, strlen(xml), 0, NULL) == 0);
}

static const char *last(void)
{
	return g.stanzas ? g.xml[(g.stanzas - 1) % NOTES] : "";
}

static void a_message_and_an_orderly_end(void)
{
	begin();
	CHECK_STR(ready, "ready domain=a.example\n");
	struct svc_stream *alice = login("alice@a.example", "one");
	CHECK_STR(g.accepted_jid, "alice@a.example/one");
	login("bob@b.example", "two");
	unsigned stanzas = g.stanzas;
	message(alice, "alice@a.example/one", "bob@b.example", "hello");
	CHECK(wait_for(&g.stanzas, stanzas + 1));
	CHECK(strstr(last(), "hello"));
	CHECK(wait_for(&g.acked_seq, 2)); /* after the presence */
	int status = program_end(SIGTERM);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK_EQ(g.closed, 2);
	end();
}

static void acknowledged_survives_kill_9(void)
{
	begin();
	struct svc_stream *bob = login("bob@b.example", "two");
	CHECK(svc_stream_close(bob, NULL, NULL) == 0);
	CHECK(wait_for(&g.closed, 1));
	struct svc_stream *alice = login("alice@a.example", "one");
	message(alice, "alice@a.example/one", "bob@b.example", "kept");
	CHECK(wait_for(&g.acked_seq, 2)); /* after the presence */
	program_end(SIGKILL);
	fake_gateway_stop(&g); /* its peer has gone with it */
	fake_gateway_start(&g, &c, "tcp://127.0.0.1:*");
	program_start();
	unsigned stanzas = g.stanzas;
	login("bob@b.example", "two");
	CHECK(wait_for(&g.stanzas, stanzas + 2));
	CHECK(strstr(last(), "kept") && strstr(last(), "urn:xmpp:delay"));
	int status = program_end(SIGTERM);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	end();
}

static void another_domain(void)
{
	begin();
	struct svc_stream *alice = login("alice@a.example", "one");
	unsigned stanzas = g.stanzas;
	message(alice, "alice@a.example/one", "carol@c.example", "over");
	CHECK(wait_for(&g.outs, 1));
	CHECK_STR(g.out_from, "a.example");
	CHECK_STR(g.out_to, "c.example");
	CHECK(wait_for(&g.stanzas, stanzas + 1));
	CHECK(strstr(last(), "over"));
	struct svc_stream *in = fake_gateway_open_server(&g, "c.example", "a.example");
	CHECK(wait_for(&g.accepted, 2));
	message(in, "carol@c.example/x", "alice@a.example", "answer");
	CHECK(wait_for(&g.stanzas, stanzas + 2));
	CHECK(strstr(last(), "answer"));
	g.refuse_out = "remote-server-not-found";
	message(alice, "alice@a.example/one", "dave@d.example", "void");
	CHECK(wait_for(&g.stanzas, stanzas + 3));
	CHECK(strstr(last(), "type='error'") && strstr(last(), "from='dave@d.example'"));
	int status = program_end(SIGTERM);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	end();
}

/* The database can't be written: the program ends, and neither an acknowledgement nor an answer has told anybody that it was. */
static void nobody_hears_what_is_not_stored(void)
{
	static const char set[] = "<iq xmlns='jabber:client' from='alice@a.example/one' type='set' id='r'><query xmlns='jabber:iq:roster'>"
				  "<item jid='bob@b.example'/></query></iq>";
	sqlite3 *db;
	begin();
	struct svc_stream *alice = login("alice@a.example", "one");
	CHECK(wait_for(&g.acked_seq, 1));
	unsigned stanzas = g.stanzas;
	CHECK_EQ(sqlite3_open(cluster_path(&c, "im.sqlite"), &db), SQLITE_OK);
	CHECK_EQ(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	CHECK(alice && svc_stream_send(alice, set, strlen(set), 0, NULL) == 0);
	int status = -1;
	CHECK(turn_until(&all, has_ended, &status, 10000));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 0);
	close(out);
	for (int i = 0; i < 100; i++) /* what it sent before is still read */
		fake_gateway_turn(&g), usleep(1000);
	CHECK_EQ(g.stanzas, stanzas);
	CHECK_EQ(g.acked_seq, 1);
	sqlite3_close(db);
	end();
}

int main(void)
{
	RUN(a_message_and_an_orderly_end);
	RUN(acknowledged_survives_kill_9);
	RUN(another_domain);
	RUN(nobody_hears_what_is_not_stored);
	return check_done("im.program");
}
