/*
 * inotify on the folder, for a file that is replaced, and on the file, which may be mounted alone. Only what ends a change counts (closed
 * after writing, moved to its place): a half-written list of keys must never be read.
 */
#include "registry/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/mem.h"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static int add_folder(struct watch *w)
{
	const char *base = base_name(w->path);
	size_t n = (size_t)(base - w->path);
	char folder[PATH_MAX];

	if (n >= sizeof(folder)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(folder, w->path, n);
	folder[n] = '\0';
	return inotify_add_watch(w->fd, n > 0 ? folder : ".", IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR);
}

/* Again after a replacement, since a watch stays with its inode. */
static void add_file(struct watch *w)
{
	(void)inotify_add_watch(w->fd, w->path, IN_CLOSE_WRITE); /* not there: the folder tells when it is */
}

int watch_open(struct watch *w, const char *path)
{
	w->path = mem_strdup(path);
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->fd >= 0 && add_folder(w) >= 0) {
		add_file(w);
		return 0;
	}
	int saved_errno = errno;
	watch_close(w);
	errno = saved_errno;
	return -1;
}

/* An event without a name is the file's own. Mounted volumes swap a hidden folder ("..data") behind a symbolic link. */
static bool concerns(const struct watch *w, const struct inotify_event *e)
{
	if (e->mask & (IN_IGNORED | IN_UNMOUNT))
		return false;
	return (e->mask & IN_Q_OVERFLOW) != 0 || e->len == 0 || strcmp(e->name, base_name(w->path)) == 0 || strncmp(e->name, "..", 2) == 0;
}

bool watch_changed(struct watch *w)
{
	_Alignas(struct inotify_event) char b[4096];
	bool changed = false;
	ssize_t n;

	while (w->fd >= 0 && (n = read(w->fd, b, sizeof(b))) > 0) {
		const struct inotify_event *e;

		for (const char *p = b; p < b + n; p += sizeof(*e) + e->len) {
			e = (const struct inotify_event *)(const void *)p;
			changed = concerns(w, e) || changed;
		}
	}
	if (changed)
		add_file(w);
	return changed;
}

void watch_close(struct watch *w)
{
	if (w->fd >= 0)
		close(w->fd);
	free(w->path);
	w->fd = -1;
	w->path = NULL;
}
