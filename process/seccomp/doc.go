// Package seccomp compiles the seccomp section of a container's config.json
// to the small program with which the kernel decides, for every system call
// of the container, whether to carry it out.
//
// A process may hand the kernel a filter with seccomp(2): a program for a tiny
// virtual machine, classic BPF, as tcpdump uses it on packets. From then on
// the kernel runs it before each system call of that process and of all its
// descendants; there is no way back. The program sees no memory, only this:
//
//	struct seccomp_data {
//		int   nr;                   // number of the system call
//		__u32 arch;                 // AUDIT_ARCH_*: whose numbering that is
//		__u64 instruction_pointer;
//		__u64 args[6];              // registers; pointers are not followed
//	};
//
// and answers with an action: allow, answer an errno, send SIGSYS, kill, or
// ask a tracer or a listener. Whoever has no CAP_SYS_ADMIN must first set
// no_new_privs, for a filter that lies to a set-user-ID program is an attack.
//
// # Model
//
// [Compile] is a pure function with four stages, one file each:
//
//	rules.go  the profile, checked, with conditions in a few normal forms
//	spans.go  per architecture: which numbers do what, as a sorted list of spans
//	code.go   a binary search over the spans, then comparisons of arguments
//	asm.go    the instructions, placed from the last to the first
//
// Where runtime-spec leaves things open, the answers are those of libseccomp
// and so of runc and crun: see the comment of [Compile]. [Default] is the
// profile of containers whose user names none. The tests explain a compiled
// program in words (disasm_test.go).
//
// Since Linux 5.11 the kernel notes, when a filter is loaded, which calls it
// allows whatever their arguments, and does not run it for those again. Filters
// stay within what that check understands.
//
// # Left out
//
// Package process records the loading of a filter, and passes on a listener's
// descriptor. Architectures are those of amd64 and arm64 machines. Numbers of
// system calls are of the kernel release golang.org/x/sys/unix knows.
//
// Man pages: [seccomp(2)], [seccomp_unotify(2)], [bpf(4)] of FreeBSD, where
// classic BPF comes from, the kernel's [seccomp_filter]; runtime-spec's
// config-linux.md, section [Seccomp].
//
// [seccomp(2)]: https://man7.org/linux/man-pages/man2/seccomp.2.html
// [seccomp_unotify(2)]: https://man7.org/linux/man-pages/man2/seccomp_unotify.2.html
// [bpf(4)]: https://man.freebsd.org/cgi/man.cgi?bpf(4)
// [seccomp_filter]: https://docs.kernel.org/userspace-api/seccomp_filter.html
// [Seccomp]: https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#seccomp
package seccomp

//go:generate go run gen.go
