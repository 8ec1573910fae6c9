/*
 * trespasser.c - to be preloaded: before the first things that a thread writes it makes a system
 * call that no list of a device allows. Some it writes before it has a list.
 */
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t write(int fd, const void *buf, size_t len)
{
	static _Thread_local unsigned nr;
	if (fd != STDERR_FILENO && nr++ < 100) { /* there it complains of us */
		int sock = socket(AF_UNIX, SOCK_STREAM, 0);
		if (sock >= 0)
			(void)close(sock); /* was only made */
	}
	return syscall(SYS_write, fd, buf, len);
}
