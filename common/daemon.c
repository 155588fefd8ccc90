/*
 * What a program is as a process: its signals, its limits, the user that it becomes, its state folder, and how it says that it is
 * ready, to whoever reads its standard output and to systemd.
 */
#include "common/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <grp.h>
#include <netdb.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"
#include "common/prompt.h"

static struct {
	const struct daemon_ops *ops;
	void *arg;
	struct event term, intr, hup;
} signals;

void daemon_die(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	fflush(stdout);
	fprintf(stderr, "%s: %s\n", program_invocation_short_name, text);
	exit(1);
}

void daemon_init(void)
{
	struct rlimit files;

	signal(SIGPIPE, SIG_IGN);
	umask(077);
	prompt_thread();
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &files) < 0)
			log_warn("daemon", 0, "descriptor_limit", "error=\"%s\"", strerror(errno));
	}
}

/* sd_notify(3)'s protocol: one datagram to a socket whose name begins with `/`, or `@` for an abstract one. */
static void notify_systemd(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;

	if (len < 2 || len >= sizeof to.sun_path || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* an abstract name has no NUL at its end: the length says where it ends */
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, size) < 0)
		log_warn("daemon", 0, "notify_failed", "error=\"%s\"", strerror(errno));
	close(fd);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	(void)what;
	(void)arg;
	if (number == SIGHUP) {
		if (signals.ops->reload)
			signals.ops->reload(signals.arg);
	} else if (signals.ops->terminate) {
		notify_systemd("STOPPING=1");
		signals.ops->terminate(signals.arg);
	}
}

void daemon_signals(struct loop *l, const struct daemon_ops *ops, void *arg)
{
	struct { struct event *ev; int number; } each[] = {
		{&signals.term, SIGTERM}, {&signals.intr, SIGINT}, {&signals.hup, SIGHUP},
	};

	signals.ops = ops;
	signals.arg = arg;
	for (size_t i = 0; i < ARRAY_LEN(each); i++) {
		int err = evsignal_assign(each[i].ev, loop_base(l), each[i].number, on_signal, NULL);
		ASSERT(err == 0);
		err = evsignal_add(each[i].ev, NULL);
		ASSERT(err == 0);
	}
}

void daemon_ready(const char *fmt, ...)
{
	va_list ap;

	fputs("ready ", stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	notify_systemd("READY=1");
}

static struct passwd *user_to_be(const char *user)
{
	return getpwnam(user && user[0] ? user : "ambrosia");
}

int daemon_hand_over(const char *dir, const char *user)
{
	struct passwd *pw = geteuid() == 0 ? user_to_be(user) : NULL;
	struct dirent *entry;
	struct stat st;
	int failed;
	DIR *d;

	if (pw == NULL)
		return 0;
	d = opendir(dir);
	if (d == NULL)
		return -ERR_SYSTEM;
	failed = fchown(dirfd(d), pw->pw_uid, pw->pw_gid);
	while ((entry = readdir(d)) != NULL)
		if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			failed |= fchownat(dirfd(d), entry->d_name, pw->pw_uid, pw->pw_gid, AT_SYMLINK_NOFOLLOW);
	closedir(d);
	return failed ? -ERR_SYSTEM : 0;
}

/* A user without a name has no other groups. */
static int become(const char *name, uid_t uid, gid_t gid)
{
	if ((name ? initgroups(name, gid) : setgroups(0, NULL)) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -ERR_SYSTEM;
	ASSERT(uid == 0 || setresuid(0, 0, 0) < 0); /* no way back */
	return 0;
}

int daemon_become(const char *user)
{
	bool named = user && user[0];

	if (geteuid() != 0)
		return 0;
	struct passwd *pw = user_to_be(user);
	if (pw == NULL && named)
		return -ERR_NOTFOUND;
	if (pw == NULL) {
		log_warn("daemon", 0, "running_as_root", "hint=\"make a user ambrosia, or give --user\"");
		return 0;
	}
	return become(pw->pw_name, pw->pw_uid, pw->pw_gid);
}

void daemon_leave_root(const char *dir, const char *user)
{
	if (daemon_hand_over(dir, user) != 0)
		daemon_die("cannot give %s to the user: %s", dir, strerror(errno));
	if (daemon_become(user) != 0)
		daemon_die("the user %s does not exist; name another with --user", user);
}

int daemon_become_owner(const char *dir)
{
	struct passwd *pw;
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (stat(dir, &st) != 0)
		return -ERR_SYSTEM;
	if (st.st_uid == 0)
		return 0;
	pw = getpwuid(st.st_uid);
	return pw ? become(pw->pw_name, st.st_uid, pw->pw_gid) : become(NULL, st.st_uid, st.st_gid);
}

static char *join(const char *dir, const char *rest)
{
	size_t n = strlen(dir), m = strlen(rest);
	char *path = mem_alloc(n + m + 1);

	memcpy(path, dir, n);
	memcpy(path + n, rest, m);
	return path;
}

char *daemon_host_name(void)
{
	struct addrinfo hints = {.ai_flags = AI_CANONNAME}, *found = NULL;
	char name[256] = "localhost", *copy;

	gethostname(name, sizeof name - 1);
	copy = mem_strdup(getaddrinfo(name, NULL, &hints, &found) == 0 && found->ai_canonname != NULL ? found->ai_canonname : name);
	if (found != NULL)
		freeaddrinfo(found);
	return copy;
}

char *daemon_state_dir(void)
{
	const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		return mem_strdup("/var/lib/ambrosia");
	if (base && base[0] == '/') /* the specification: a relative one is to be ignored */
		return join(base, "/ambrosia");
	if (home == NULL || home[0] != '/') {
		struct passwd *pw = getpwuid(geteuid());

		home = pw ? pw->pw_dir : "";
	}
	return join(home, "/.local/state/ambrosia");
}

static int make_one(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return 0;
	/* EEXIST mostly, but a read-only parent that exists says EROFS or EACCES */
	int saved_errno = errno;
	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		saved_errno = ENOTDIR;
	}
	errno = saved_errno;
	return -ERR_SYSTEM;
}

int daemon_make_dir(const char *path)
{
	char *copy = mem_strdup(path);
	int err = 0;

	for (char *at = copy + 1; copy[0] && *at && err == 0; at++) {
		if (*at != '/' || at[-1] == '/')
			continue;
		*at = '\0';
		err = make_one(copy);
		*at = '/';
	}
	if (err == 0)
		err = make_one(copy);
	int saved_errno = errno;
	free(copy);
	errno = saved_errno;
	return err;
}
