#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "check.h"
#include "child.h"
#include "common/daemon.h"
#include "common/err.h"

static struct child c;
static char folder[] = "/tmp/ambrosia-daemon-XXXXXX";

static void die(void *arg)
{
	(void)arg;
	daemon_die("cannot bind %s: give --c2s", "[::]:5222");
}

static void test_die(void)
{
	child_run(&c, STDERR_FILENO, die, NULL);
	CHECK_EQ(c.status, 1);
	CHECK_STR(c.text, "test_common_daemon: cannot bind [::]:5222: give --c2s\n");
}

static void init(void *arg)
{
	struct rlimit files = {0};
	struct sigaction pipe_action;

	(void)arg;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = 64;
	setrlimit(RLIMIT_NOFILE, &files);
	daemon_init();
	getrlimit(RLIMIT_NOFILE, &files);
	sigaction(SIGPIPE, NULL, &pipe_action);
	printf("%d %d %03o\n", files.rlim_cur == files.rlim_max, pipe_action.sa_handler == SIG_IGN, umask(0));
}

static void test_init(void)
{
	child_run(&c, STDOUT_FILENO, init, NULL);
	CHECK_STR(c.text, "1 1 077\n");
}

static char seen[8];

static void on_reload(void *arg)
{
	(void)arg;
	strncat(seen, "H", sizeof seen - strlen(seen) - 1);
	raise(strlen(seen) == 1 ? SIGINT : SIGTERM);
}

static void on_terminate(void *arg)
{
	strncat(seen, "T", sizeof seen - strlen(seen) - 1);
	if (strlen(seen) == 2)
		raise(SIGHUP);
	else
		loop_stop(arg);
}

static void test_signals(void)
{
	static const struct daemon_ops ops = {.terminate = on_terminate, .reload = on_reload};
	struct loop *l = loop_new();

	daemon_signals(l, &ops, l);
	raise(SIGHUP);
	loop_run(l);
	CHECK_EQ(seen[0], 'H');
	CHECK_EQ(seen[1], 'T');
	CHECK_EQ(strlen(seen), 4);
	loop_free(l);
}

static void ready(void *arg)
{
	if (arg)
		setenv("NOTIFY_SOCKET", arg, 1);
	else
		unsetenv("NOTIFY_SOCKET");
	daemon_ready("c2s=%s svc=%s", "[::]:5222", "tcp://127.0.0.1:5320");
}

static void check_notified(struct sockaddr_un *addr, socklen_t size, char *name)
{
	char text[100] = "";
	struct timeval patience = {.tv_sec = 10};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	CHECK_EQ(bind(fd, (struct sockaddr *)addr, size), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	child_run(&c, STDOUT_FILENO, ready, name);
	CHECK_EQ(recv(fd, text, sizeof text - 1, 0), 7);
	CHECK_STR(text, "READY=1");
	close(fd);
	CHECK_STR(c.text, "ready c2s=[::]:5222 svc=tcp://127.0.0.1:5320\n");
}

static void test_ready(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char name[108];
	char nonsense[] = "relative", nobody[] = "/nonexistent/socket";

	child_run(&c, STDOUT_FILENO, ready, NULL);
	CHECK_STR(c.text, "ready c2s=[::]:5222 svc=tcp://127.0.0.1:5320\n");
	child_run(&c, STDOUT_FILENO, ready, nonsense);
	CHECK_EQ(c.status, 0);
	child_run(&c, STDOUT_FILENO, ready, nobody);
	CHECK_EQ(c.status, 0);

	int n = snprintf(name, sizeof name, "%s/notify", folder);
	memcpy(addr.sun_path, name, (size_t)n + 1);
	check_notified(&addr, sizeof addr, name);
	n = snprintf(name, sizeof name, "@ambrosia-test-%d", (int)getpid());
	memcpy(addr.sun_path, name, (size_t)n);
	addr.sun_path[0] = '\0';
	check_notified(&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n), name);
}

static void become(void *user)
{
	int err = daemon_become(user);
	uid_t real, effective, saved;

	getresuid(&real, &effective, &saved);
	printf("%d %d %d %d %d %d\n", err, (int)real, (int)effective, (int)saved, (int)getgid(), getgroups(0, NULL));
}

static void test_become(void)
{
	char nobody[] = "nobody", unknown[] = "no-such-user-here";
	char want[100];
	struct passwd *pw = getpwnam("nobody");

	if (geteuid() != 0 || pw == NULL) {
		CHECK_EQ(daemon_become(unknown), 0); /* nothing to become for who is not root */
		return;
	}
	snprintf(want, sizeof want, "0 %d %d %d %d 1\n", (int)pw->pw_uid, (int)pw->pw_uid, (int)pw->pw_uid, (int)pw->pw_gid);
	child_run(&c, STDOUT_FILENO, become, nobody);
	CHECK_STR(c.text, want);
	child_run(&c, STDOUT_FILENO, become, unknown);
	snprintf(want, sizeof want, "%d 0 0 0 ", -ERR_NOTFOUND);
	CHECK(strncmp(c.text, want, strlen(want)) == 0);
}

static void become_owner(void *dir)
{
	int err = daemon_become_owner(dir);
	uid_t real, effective, saved;

	getresuid(&real, &effective, &saved);
	printf("%d %d %d %d %d\n", err, (int)real, (int)effective, (int)saved, (int)getgid());
}

static void test_become_owner(void)
{
	char named[200], nameless[200], missing[] = "/nonexistent/folder", root[] = "/", want[100];
	struct passwd *pw = getpwnam("nobody");

	if (geteuid() != 0 || pw == NULL) {
		CHECK_EQ(daemon_become_owner("/"), 0);
		return;
	}
	snprintf(named, sizeof named, "%s/named", folder);
	snprintf(nameless, sizeof nameless, "%s/nameless", folder);
	CHECK(mkdir(named, 0700) == 0 && chown(named, pw->pw_uid, 0) == 0);
	CHECK(mkdir(nameless, 0700) == 0 && chown(nameless, 54321, 54322) == 0);
	snprintf(want, sizeof want, "0 %d %d %d %d\n", (int)pw->pw_uid, (int)pw->pw_uid, (int)pw->pw_uid, (int)pw->pw_gid);
	child_run(&c, STDOUT_FILENO, become_owner, named);
	CHECK_STR(c.text, want);
	child_run(&c, STDOUT_FILENO, become_owner, nameless);
	CHECK_STR(c.text, "0 54321 54321 54321 54322\n");
	child_run(&c, STDOUT_FILENO, become_owner, root);
	CHECK_STR(c.text, "0 0 0 0 0\n");
	child_run(&c, STDOUT_FILENO, become_owner, missing);
	snprintf(want, sizeof want, "%d 0 0 0 0\n", -ERR_SYSTEM);
	CHECK_STR(c.text, want);
}

static void print_state_dir(void *arg)
{
	if (arg && geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
		abort();
	char *dir = daemon_state_dir();
	puts(dir);
	free(dir);
}

static void test_state_dir(void)
{
	char drop[] = "drop";

	if (geteuid() == 0) {
		child_run(&c, STDOUT_FILENO, print_state_dir, NULL);
		CHECK_STR(c.text, "/var/lib/ambrosia\n");
	}
	setenv("XDG_STATE_HOME", "/xdg", 1);
	setenv("HOME", "/home/me", 1);
	child_run(&c, STDOUT_FILENO, print_state_dir, drop);
	CHECK_STR(c.text, "/xdg/ambrosia\n");
	setenv("XDG_STATE_HOME", "relative", 1);
	child_run(&c, STDOUT_FILENO, print_state_dir, drop);
	CHECK_STR(c.text, "/home/me/.local/state/ambrosia\n");
	unsetenv("XDG_STATE_HOME");
	unsetenv("HOME");
	child_run(&c, STDOUT_FILENO, print_state_dir, drop);
	CHECK(c.text[0] == '/' && strstr(c.text, "/.local/state/ambrosia\n") != NULL);
}

static void test_make_dir(void)
{
	char path[200], file[200];
	struct stat st;
	mode_t before = umask(0);

	snprintf(path, sizeof path, "%s/a//b/c/", folder);
	CHECK_EQ(daemon_make_dir(path), 0);
	CHECK_EQ(daemon_make_dir(path), 0);
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0700);
	snprintf(path, sizeof path, "%s/a", folder);
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0700);

	snprintf(file, sizeof file, "%s/file", folder);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	CHECK_EQ(daemon_make_dir(file), -ERR_SYSTEM);
	CHECK_EQ(errno, ENOTDIR);
	snprintf(path, sizeof path, "%s/file/x", folder);
	CHECK_EQ(daemon_make_dir(path), -ERR_SYSTEM);
	CHECK_EQ(errno, ENOTDIR);
	CHECK_EQ(daemon_make_dir(""), -ERR_SYSTEM);
	CHECK_EQ(daemon_make_dir("/"), 0);
	umask(before);
}

static void remove_folder(void)
{
	static const char *const names[] = {"a/b/c", "a/b", "a", "file", "notify", "named", "nameless", ""};
	char path[200];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		remove(path);
	}
}

int main(void)
{
	if (mkdtemp(folder) == NULL)
		return 1;
	RUN(test_die);
	RUN(test_init);
	RUN(test_signals);
	RUN(test_ready);
	RUN(test_become);
	RUN(test_become_owner);
	RUN(test_state_dir);
	RUN(test_make_dir);
	remove_folder();
	return check_done("unit.common.daemon");
}
