package seccomp

// This file knows the architectures: how the kernel names them to a filter,
// and which number each gives to a system call.
//
// One machine speaks several. An amd64 kernel also runs 32-bit programs (x86)
// and, if so configured, 64-bit ones with 32-bit pointers (x32); an arm64
// kernel runs 32-bit arm ones. Each has its own numbers: 1 is write on x86_64
// and exit on x86. A filter that looked at the number alone could be led
// past by changing the architecture.

import (
	"fmt"
	"slices"
	"sort"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// absent is the number of a system call on an architecture without it.
const absent = -1

// privateCalls is where arm's own calls start (set_tls and a few more), far
// above those that come with new kernels.
const privateCalls = 0xf0000

// x32Bit is set in the numbers of x32 calls, which the kernel reports with the
// architecture of x86_64.
const x32Bit = 0x40000000

// skippedCall is the number of a call that a tracer has cancelled: -1.
const skippedCall = 0xffffffff

// A systemCall is one system call.
type systemCall struct {
	name    string
	numbers [5]int32 // per architecture, indexed by arch.column; or absent

	// On x86 some calls are also, or only, made through socketcall(2) or
	// ipc(2): the first argument that means this one, or 0.
	socketcall, ipc uint8
}

// An arch is one calling convention for system calls.
type arch struct {
	name   specs.Arch
	short  string // for people
	goarch string // the machines that have it
	audit  uint32 // in seccomp_data.arch
	column int    // in the table of system calls
	wide   bool   // registers, and so arguments, have 64 bits
	bit    uint32 // set in all numbers
}

// arches lists all architectures; of each machine, the native one first.
var arches = [...]arch{
	{specs.ArchX86_64, "x86_64", "amd64", unix.AUDIT_ARCH_X86_64, 0, true, 0},
	{specs.ArchX32, "x32", "amd64", unix.AUDIT_ARCH_X86_64, 1, true, x32Bit},
	{specs.ArchX86, "x86", "amd64", unix.AUDIT_ARCH_I386, 2, false, 0},
	{specs.ArchAARCH64, "aarch64", "arm64", unix.AUDIT_ARCH_AARCH64, 3, true, 0},
	{specs.ArchARM, "arm", "arm64", unix.AUDIT_ARCH_ARM, 4, false, 0},
}

// archesOf returns the architectures of a machine that a profile wants, the
// native one first and always. Those that runtime-spec knows and the machine
// does not are left out: no system call can come from them.
func archesOf(goarch string, wanted []specs.Arch) ([]*arch, error) {
	for _, name := range wanted {
		if !slices.Contains(specArches, name) {
			return nil, fmt.Errorf("seccomp architecture %q: unknown", name)
		}
	}
	var list []*arch
	for i := range arches {
		a := &arches[i]
		native := len(list) == 0
		if a.goarch == goarch && (native || slices.Contains(wanted, a.name)) {
			list = append(list, a)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("seccomp filter for %s: unknown machine", goarch)
	}
	return list, nil
}

// specArches are the architectures of which runtime-spec has a name.
var specArches = []specs.Arch{
	specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64,
	specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32,
	specs.ArchMIPSEL, specs.ArchMIPSEL64, specs.ArchMIPSEL64N32,
	specs.ArchPPC, specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X,
	specs.ArchPARISC, specs.ArchPARISC64, specs.ArchRISCV64, specs.ArchLOONGARCH64,
	specs.ArchM68K, specs.ArchSH, specs.ArchSHEB,
}

// lookup finds a system call by name; nil if no architecture has it.
func lookup(name string) *systemCall {
	i := sort.Search(len(syscalls), func(i int) bool { return syscalls[i].name >= name })
	if i == len(syscalls) || syscalls[i].name != name {
		return nil
	}
	return &syscalls[i]
}

// A mux is a call that does the work of many: its first argument says which.
type mux struct {
	call string
	mask uint64 // of the bits of the argument that say so
	op   uint64
}

// muxed returns the multiplexed form of a call, if the architecture has one.
func (a *arch) muxed(call *systemCall) (mux, bool) {
	switch {
	case a.name != specs.ArchX86:
		return mux{}, false
	case call.socketcall != 0:
		return mux{"socketcall", ^uint64(0), uint64(call.socketcall)}, true
	case call.ipc != 0:
		// The upper half of the argument is a version number.
		return mux{"ipc", 0xffff, uint64(call.ipc)}, true
	}
	return mux{}, false
}
