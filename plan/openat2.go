package plan

import "golang.org/x/sys/unix"

// Openat2 is openat2(2) for the runtime, with the retries that a plan's steps of
// this name have, too. The kernel answers EAGAIN if, while it went up a "..",
// something was renamed or mounted anywhere on the machine: it then cannot be
// sure that it is still below its root. Somebody may rename without end, so the
// retries have one. Linux 5.6.
func Openat2(dir int, path string, how *unix.OpenHow) (fd int, err error) {
	for range Patience {
		fd, err = unix.Openat2(dir, path, how)
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	return fd, err
}
