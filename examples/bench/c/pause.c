/* pause.c: the container's /bin/pause: a container process that only waits,
 * for others to be exec'ed beside it. As process 1 of its pid namespace it gets
 * no signal that it has no handler for, so SIGTERM needs one. */
#include <signal.h>
#include <unistd.h>

static void stop(int sig) { _exit(128 + sig); }

int main(void) {
	signal(SIGTERM, stop);
	for (;;)
		pause();
}
