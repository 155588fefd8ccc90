#ifndef AMBROSIA_TESTS_CHILD_H
#define AMBROSIA_TESTS_CHILD_H

/* Runs a function in a child process and keeps what it wrote to one descriptor: for what exits, aborts or writes to a standard stream. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
	int status;       /* the exit status, or 128 + the signal */
	size_t n;
	char text[65536]; /* NUL-terminated */
};

static inline void child_run(struct child *c, int fd, void (*fn)(void *arg), void *arg)
{
	int pipe_fds[2], wait_status;
	ssize_t got;

	fflush(NULL);
	if (pipe(pipe_fds) < 0)
		abort();
	pid_t pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		dup2(pipe_fds[1], fd);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		fn(arg);
		exit(0);
	}
	close(pipe_fds[1]);
	c->n = 0;
	while ((got = read(pipe_fds[0], c->text + c->n, sizeof c->text - 1 - c->n)) > 0)
		c->n += (size_t)got;
	c->text[c->n] = '\0';
	close(pipe_fds[0]);
	waitpid(pid, &wait_status, 0);
	c->status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

#endif
