/* Notice of a changed file: written in place, replaced, swapped behind a link; and silence while it is being written. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <stdlib.h>
#include <unistd.h>

#include "registry/watch.h"

static char dir[] = "/tmp/ambrosia-watch-XXXXXX";

static const char *path(const char *name)
{
	static char p[2][256];
	static unsigned next;
	char *to = p[next++ % 2];

	snprintf(to, sizeof(p[0]), "%s/%s", dir, name);
	return to;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(path(name), "w");

	CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* inotify queues its events before the call that caused them returns. */
static bool readable(const struct watch *w)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void test_written_in_place(void)
{
	struct watch w;

	write_file("keys", "one");
	CHECK_EQ(watch_open(&w, path("keys")), 0);
	CHECK(!readable(&w) && !watch_changed(&w));
	int fd = open(path("keys"), O_WRONLY | O_TRUNC | O_CLOEXEC);
	CHECK_EQ(write(fd, "tw", 2), 2);
	CHECK(!watch_changed(&w)); /* half a file */
	CHECK_EQ(write(fd, "o", 1), 1);
	close(fd);
	CHECK(readable(&w) && watch_changed(&w));
	CHECK(!watch_changed(&w));
	write_file("other", "not ours");
	CHECK(!watch_changed(&w));
	watch_close(&w);
}

static void test_replaced(void)
{
	struct watch w;

	CHECK_EQ(watch_open(&w, path("keys")), 0);
	for (int i = 0; i < 2; i++) {
		write_file("keys.new", "three");
		CHECK(!watch_changed(&w));
		CHECK_EQ(rename(path("keys.new"), path("keys")), 0);
		CHECK(watch_changed(&w));
		write_file("keys", "four"); /* the new inode is watched too */
		CHECK(watch_changed(&w));
	}
	unlink(path("keys"));
	CHECK(!watch_changed(&w));
	write_file("keys", "five");
	CHECK(watch_changed(&w));
	watch_close(&w);
}

static void test_mounted_volume(void)
{
	struct watch w;

	unlink(path("keys"));
	CHECK_EQ(mkdir(path("v1"), 0700), 0);
	CHECK_EQ(symlink("v1", path("..data")), 0);
	CHECK_EQ(symlink("..data/keys", path("keys")), 0);
	write_file("v1/keys", "six");
	CHECK_EQ(watch_open(&w, path("keys")), 0);
	CHECK_EQ(symlink("v1", path("..tmp")), 0);
	CHECK(!watch_changed(&w));
	CHECK_EQ(rename(path("..tmp"), path("..data")), 0);
	CHECK(watch_changed(&w));
	watch_close(&w);
}

static void test_no_folder(void)
{
	struct watch w;

	CHECK_EQ(watch_open(&w, "/nonexistent/keys"), -1);
	CHECK_EQ(errno, ENOENT);
	CHECK_EQ(w.fd, -1);
	CHECK(!watch_changed(&w));
	watch_close(&w);
}

int main(void)
{
	if (mkdtemp(dir) == NULL)
		return 1;
	RUN(test_written_in_place);
	RUN(test_replaced);
	RUN(test_mounted_volume);
	RUN(test_no_folder);
	static const char *const left[] = { "keys", "other", "v1/keys", "..data" };
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
		unlink(path(left[i]));
	rmdir(path("v1"));
	CHECK_EQ(rmdir(dir), 0);
	return check_done("registry.watch");
}
