// Package labels gives the container's program a label of a security module.
//
// AppArmor and SELinux decide on more than users and capabilities: what a program
// may do depends on its label (AppArmor calls it a profile). A label for the next
// execve(2) is text that a process writes into a file below /proc/self/attr. The
// kernel checks whether the writer may change to it.
//
// Whoever controls /proc could put another file there: the process would write
// the label into nothing, and the program run without one (CVE-2025-52881). So
// the label goes through a procfs that the container cannot change, and before
// the process gives up its privileges.
//
// The spec's properties are process.apparmorProfile and process.selinuxLabel
// (config.md, "Linux Process"). Labels of files are package rootfs's business.
//
// Man pages: [apparmor(7)], [selinux(8)], [proc_pid_attr(5)].
//
// [apparmor(7)]: https://manpages.debian.org/apparmor.7
// [selinux(8)]: https://man7.org/linux/man-pages/man8/selinux.8.html
// [proc_pid_attr(5)]: https://man7.org/linux/man-pages/man5/proc_pid_attr.5.html
package labels

import (
	"golang.org/x/sys/unix"

	"minirun/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Labels are those of a process. The zero value has none.
type Labels struct{ apparmor, selinux string }

// New reads the labels of a process. Only the kernel knows which ones exist, so
// there is nothing to refuse.
func New(p *specs.Process) Labels { return Labels{p.ApparmorProfile, p.SelinuxLabel} }

// Record records the labels. proc records a procfs that the container cannot
// change, or returns one that it has recorded; it is called only if there is a
// label.
func (l Labels) Record(p *plan.Plan, proc func(*plan.Plan) plan.FD) {
	if l.apparmor != "" {
		write(p, proc(p), "AppArmor profile", "exec "+l.apparmor, "the kernel does not run AppArmor", "thread-self/attr/apparmor/exec", "thread-self/attr/exec")
	}
	if l.selinux != "" {
		write(p, proc(p), "SELinux label", l.selinux, "no such label, or the kernel does not run SELinux", "thread-self/attr/exec")
	}
}

// write records the writing of one label into the first of the files that exists.
// A kernel without the security module answers EINVAL, or lacks the files. That
// is an error, except for unconfined: without AppArmor every program is.
func write(p *plan.Plan, proc plan.FD, name, text, invalid string, files ...string) {
	// Not OpenProc, which follows no link: thread-self is one, of procfs's own.
	const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS
	var opened []*plan.Step
	p.Note("the " + name + ": it takes effect at execve")
	p.Alternatives([]unix.Errno{unix.ENOENT}, func() {
		for _, file := range files {
			opened = append(opened, p.Openat2(proc, file, unix.O_WRONLY|unix.O_CLOEXEC, 0, resolve).As(name))
		}
	})
	for _, f := range opened {
		w := p.Write(f, text).Explain(unix.EINVAL, invalid).Explain(unix.ENOENT, "no such profile is loaded")
		if text == "exec unconfined" {
			w.Tolerate(unix.EINVAL)
		}
	}
}
