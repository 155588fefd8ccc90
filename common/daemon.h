#ifndef AMBROSIA_COMMON_DAEMON_H
#define AMBROSIA_COMMON_DAEMON_H

#include "common/loop.h"

/* A fatal operator error: one line on standard error, exit status 1. */
_Noreturn void daemon_die(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Before any thread starts: SIGPIPE ignored, descriptor limit raised to the hard one, umask 077, and short turns of the processor
 * for all threads (prompt.h). */
void daemon_init(void);
struct daemon_ops {
	void (*terminate)(void *arg);   /* SIGTERM, SIGINT */
	void (*reload)(void *arg);      /* SIGHUP */
};
/* Signals of the process arrive on this loop (main thread's). Once for a process at a time; a NULL entry ignores its signal. SIGTERM and
 * SIGINT are told as sd_notify's STOPPING=1. */
void daemon_signals(struct loop *l, const struct daemon_ops *ops, void *arg);
/* The line `ready key=value…` on standard output, flushed, and sd_notify's READY=1 if NOTIFY_SOCKET is set (written by ourselves). */
void daemon_ready(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Become `user` with its groups when started as root; user NULL or "" means: ambrosia if it exists, else stay with a warning.
 * -ERR_NOTFOUND for a named user that does not exist, -ERR_SYSTEM when the system refuses (errno). */
MUST_CHECK int daemon_become(const char *user);
/* As root: become the owner of this folder, with its groups; for what shares a folder with a program that was there first. 0 when the owner
 * is root, or -ERR_SYSTEM (errno). */
MUST_CHECK int daemon_become_owner(const char *dir);
/* As root, before daemon_become: gives the folder and the plain files in it to the user that daemon_become would take, so that what was
 * made as root can be read again afterwards. 0, or -ERR_SYSTEM (errno). */
MUST_CHECK int daemon_hand_over(const char *dir, const char *user);
/* Both, for a program: what root made in the folder belongs to the user from here on, and so does the process. Ends with daemon_die() where
 * that cannot be; --user is the flag it names. */
void daemon_leave_root(const char *dir, const char *user);
/* The fully qualified host name, as far as the system knows it. Blocks for the resolver. Owned by the caller. */
char *daemon_host_name(void);
/* The default state folder: /var/lib/ambrosia as root, else $XDG_STATE_HOME/ambrosia or ~/.local/state/ambrosia. Owned by the caller. */
char *daemon_state_dir(void);
/* mkdir -p with 0700. -ERR_SYSTEM: errno says why. */
MUST_CHECK int daemon_make_dir(const char *path);

#endif
