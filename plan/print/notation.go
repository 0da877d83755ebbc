package print

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// Step writes a step in the notation of strace(1), with descriptors by name:
// <rootfs> is what the step "… = <rootfs>" opened.
func Step(s *plan.Step) string {
	text := plan.Printable(s.Call)
	if !s.Function {
		text += "(" + strings.Join(arguments(s), ", ") + ")"
	}
	if s.Result != "" {
		text += " = <" + s.Result + ">"
	}
	return text
}

// arguments writes each argument of a step.
func arguments(s *plan.Step) []string {
	list := make([]string, len(s.Args))
	for i, a := range s.Args {
		if m, ok := a.(*plan.Memory); ok && m.Show != nil {
			list[i] = m.Show()
		} else if known := notation()[s.Call]; i < len(known) && known[i] != nil && !pointless(a) {
			list[i] = known[i](s, a)
		} else {
			list[i] = argument(a)
		}
	}
	return list
}

// pointless says that a writer of the call would be of no use: the argument brings its own
// text along.
func pointless(a plan.Arg) bool {
	_, name := a.(plan.Name)
	return name
}

// argument writes an argument without knowing which call it belongs to.
func argument(a plan.Arg) string {
	switch a := a.(type) {
	case plan.Num:
		if a == plan.CWD {
			return "AT_FDCWD"
		}
		return strconv.Itoa(int(a))
	case plan.Name:
		return a.Text
	case plan.String:
		return quote(string(a))
	case plan.Inherited:
		return "<" + string(a) + ">"
	case plan.ChildPID:
		return "PID"
	case plan.Offset:
		return argument(a.From) + fmt.Sprintf("%+d", a.By)
	case *plan.Step:
		if a.Result == "" {
			return "$" + strconv.Itoa(a.Index)
		}
		return "<" + a.Result + ">"
	}
	return "{...}"
}

// A writer writes one argument of a step, of a call that is known.
type writer func(s *plan.Step, a plan.Arg) string

// notation says how the arguments of a call are written: by name, in octal, or
// as what is in memory. A missing writer is that of any argument. The table is
// made when it is first used, because most runs print nothing.
var notation = sync.OnceValue(func() map[string][]writer {
	return map[string][]writer{
		"openat":         {nil, nil, number(openString), number(octal)},
		"openat2":        {nil, nil, memory(openHow)},
		"dup3":           {nil, nil, flags(openNames)},
		"read":           {nil, memory(func([]byte) string { return "[...]" })},
		"write":          {nil, memory(func(b []byte) string { return quote(string(b)) })},
		"mkdirat":        {nil, nil, number(octal)},
		"mknodat":        {nil, nil, number(nodeString), number(deviceString)},
		"fchownat":       {nil, nil, nil, nil, flags(atNames)},
		"fchmod":         {nil, number(octal)},
		"statx":          {nil, nil, flags(atNames), flags([]named{{unix.STATX_TYPE, "STATX_TYPE"}}), verified},
		"ioctl":          {nil, one(ioctlNames), ioctlArgument},
		"socket":         {one(domainNames), flags(socketNames)},
		"sendto":         {nil, nil, nil, flags([]named{{unix.MSG_NOSIGNAL, "MSG_NOSIGNAL"}})},
		"sendmsg":        {nil, message},
		"mount":          {nil, nil, nil, flags(mountNames)},
		"umount2":        {nil, flags(umountNames)},
		"fsopen":         {nil, flags([]named{{unix.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC"}})},
		"fsconfig":       {nil, one(fsconfigNames)},
		"fsmount":        {nil, flags([]named{{unix.FSMOUNT_CLOEXEC, "FSMOUNT_CLOEXEC"}}), flags(mountAttrNames)},
		"open_tree":      {nil, nil, flags(openTreeNames)},
		"move_mount":     {nil, nil, nil, nil, flags(moveMountNames)},
		"mount_setattr":  {nil, nil, flags(atNames), mountAttr},
		"clone3":         {cloneArgs},
		"unshare":        {flags(cloneNames)},
		"setns":          {nil, flags(cloneNames)},
		"umask":          {number(octal)},
		"prctl":          {one(prctlNames), prctlArgument, prctlCapability},
		"capset":         {memory(func([]byte) string { return "{version=_LINUX_CAPABILITY_VERSION_3, pid=0}" }), memory(capabilitySets)},
		"setgroups":      {nil, groups},
		"prlimit64":      {nil, one(rlimitNames), memory(limits)},
		"seccomp":        {one([]named{{unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"}}), flags(seccompNames), memory(filter)},
		"rt_sigprocmask": {one([]named{{unix.SIG_SETMASK, "SIG_SETMASK"}})},
		"execve":         {nil, stringList, stringList},
		"bpf":            {nil, bpfAttr},
	}
})

// number, flags, one and memory make a writer of a function of the bare value.

func number(write func(uintptr) string) writer {
	return func(_ *plan.Step, a plan.Arg) string {
		if n, ok := a.(plan.Num); ok {
			return write(uintptr(n))
		}
		return argument(a)
	}
}

func flags(names []named) writer {
	return number(func(v uintptr) string { return flagString(v, names) })
}

func one(names []named) writer {
	return number(func(v uintptr) string { return valueString(v, names) })
}

func memory(write func([]byte) string) writer {
	return func(_ *plan.Step, a plan.Arg) string {
		if m, ok := a.(*plan.Memory); ok {
			return write(m.Bytes)
		}
		return argument(a)
	}
}

// word32 and word64 read a field of a structure.

func word32(b []byte, offset int) uint32 { return binary.NativeEndian.Uint32(b[offset:]) }
func word64(b []byte, offset int) uint64 { return binary.NativeEndian.Uint64(b[offset:]) }

// octal writes permissions, as 0644.
func octal(v uintptr) string { return fmt.Sprintf("%#03o", v) }

// openString writes the flags of open(2), of which the access is a number of
// two bits: 0 is O_RDONLY.
func openString(flags uintptr) string {
	s := valueString(flags&unix.O_ACCMODE, accessNames)
	if rest := flags &^ unix.O_ACCMODE; rest != 0 {
		s += "|" + flagString(rest, openNames)
	}
	return s
}

// openHow writes struct open_how.
func openHow(b []byte) string {
	s := "{flags=" + openString(uintptr(word64(b, 0)))
	if mode := word64(b, 8); mode != 0 {
		s += ", mode=" + octal(uintptr(mode))
	}
	return s + ", resolve=" + flagString(uintptr(word64(b, 16)), resolveNames) + "}"
}

// nodeString writes the type and mode of mknod(2).
func nodeString(perm uintptr) string {
	kind := perm & unix.S_IFMT
	return valueString(kind, fileTypes) + "|" + octal(perm&^kind)
}

// deviceString writes a device number, which the kernel packs into one.
func deviceString(dev uintptr) string {
	return "makedev(" + hex(unix.Major(uint64(dev))) + ", " + hex(unix.Minor(uint64(dev))) + ")"
}

// verified writes what statx(2) must answer: see [plan.Plan.Device].
func verified(s *plan.Step, a plan.Arg) string {
	if len(s.Verified) != 2 {
		return argument(a)
	}
	kind, major, minor := device(s)
	return "{stx_mode=" + valueString(uintptr(kind), fileTypes) + ", stx_rdev=" + deviceString(uintptr(unix.Mkdev(major, minor))) + "}"
}

// device is what statx(2) must answer: the type is in the second half of the
// first comparison, the numbers are the second.
func device(s *plan.Step) (kind, major, minor uint32) {
	first := binary.NativeEndian.AppendUint64(nil, s.Verified[0].Want)
	numbers := binary.NativeEndian.AppendUint64(nil, s.Verified[1].Want)
	return word32(first, 4), word32(numbers, 0), word32(numbers, 4)
}

// ioctlArgument writes the argument of a request. TIOCGPTPEER takes the flags of open(2).
func ioctlArgument(s *plan.Step, a plan.Arg) string {
	if s.Args[1] == plan.Num(unix.TIOCGPTPEER) {
		return number(openString)(s, a)
	}
	return argument(a)
}

// message writes a struct msghdr that passes one descriptor.
func message(_ *plan.Step, a plan.Arg) string {
	m := a.(*plan.Memory)
	data, control := m.Points[16].Points[0].Bytes, m.Points[32]
	return fmt.Sprintf("{msg_iov=[{iov_base=%s, iov_len=%d}], msg_control=[{cmsg_type=SCM_RIGHTS, cmsg_data=[%s]}]}",
		quote(string(data)), len(data), argument(control.FDs32[16]))
}

// mountAttr writes struct mount_attr.
func mountAttr(_ *plan.Step, a plan.Arg) string {
	m := a.(*plan.Memory)
	userns := "0"
	if fd := m.FDs[24]; fd != nil {
		userns = argument(fd)
	}
	return fmt.Sprintf("{attr_set=%s, attr_clr=%s, propagation=%s, userns_fd=%s}", flagString(uintptr(word64(m.Bytes, 0)), mountAttrNames),
		flagString(uintptr(word64(m.Bytes, 8)), mountAttrNames), flagString(uintptr(word64(m.Bytes, 16)), mountNames), userns)
}

// cloneArgs writes the fields of struct clone_args that are set.
func cloneArgs(_ *plan.Step, a plan.Arg) string {
	m := a.(*plan.Memory)
	s := "{flags=" + flagString(uintptr(word64(m.Bytes, 0)), cloneNames)
	if word64(m.Bytes, 32) == uint64(unix.SIGCHLD) {
		s += ", exit_signal=SIGCHLD"
	}
	if fd := cloneCgroup(m); fd != nil {
		s += ", cgroup=" + argument(fd)
	}
	return s + "}"
}

// cloneCgroup is the descriptor of the cgroup that clone3(2) makes the process in.
func cloneCgroup(m *plan.Memory) plan.FD { return m.FDs[80] }

// prctlArgument writes the first argument of an operation.
func prctlArgument(s *plan.Step, a plan.Arg) string {
	n, ok := a.(plan.Num)
	if !ok {
		return argument(a)
	}
	switch s.Args[0] {
	case plan.Num(unix.PR_CAPBSET_DROP):
		return capabilityName(int(n))
	case plan.Num(unix.PR_CAP_AMBIENT):
		return valueString(uintptr(n), ambientNames)
	case plan.Num(unix.PR_SET_DUMPABLE):
		return valueString(uintptr(n), []named{{0, "SUID_DUMP_DISABLE"}, {1, "SUID_DUMP_USER"}})
	}
	return argument(a)
}

// prctlCapability writes the second argument, which is one of PR_CAP_AMBIENT_RAISE.
func prctlCapability(s *plan.Step, a plan.Arg) string {
	if n, ok := a.(plan.Num); ok && s.Args[0] == plan.Num(unix.PR_CAP_AMBIENT) && s.Args[1] == plan.Num(unix.PR_CAP_AMBIENT_RAISE) {
		return capabilityName(int(n))
	}
	return argument(a)
}

// capabilityName is the name of a capability; its number if a newer kernel has made it.
func capabilityName(n int) string {
	if n < len(plan.Capabilities) {
		return plan.Capabilities[n]
	}
	return strconv.Itoa(n)
}

// capabilitySets writes two struct __user_cap_data_struct: the low and the high
// halves of the three sets.
func capabilitySets(b []byte) string {
	set := func(offset int) string {
		var names []string
		mask := uint64(word32(b, offset)) | uint64(word32(b, offset+12))<<32
		for n := range 64 {
			if mask&(1<<n) != 0 {
				names = append(names, "1<<"+capabilityName(n))
			}
		}
		if len(names) == 0 {
			return "0"
		}
		return strings.Join(names, "|")
	}
	return "{effective=" + set(0) + ", permitted=" + set(4) + ", inheritable=" + set(8) + "}"
}

// groups writes the list of setgroups(2), whose length is the argument before.
func groups(s *plan.Step, a plan.Arg) string {
	m, ok := a.(*plan.Memory)
	n, _ := s.Args[0].(plan.Num)
	if !ok {
		return argument(a)
	}
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(word32(m.Bytes, 4*i))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// limits writes struct rlimit64.
func limits(b []byte) string {
	limit := func(n uint64) string {
		if n == unix.RLIM_INFINITY {
			return "RLIM64_INFINITY"
		}
		return fmt.Sprint(n)
	}
	return "{rlim_cur=" + limit(word64(b, 0)) + ", rlim_max=" + limit(word64(b, 8)) + "}"
}

// filter writes struct sock_fprog.
func filter(b []byte) string { return fmt.Sprintf("{len=%d, filter=[...]}", word64(b, 0)) }

// bpfAttr writes the part of union bpf_attr that the operation uses.
func bpfAttr(s *plan.Step, a plan.Arg) string {
	m := a.(*plan.Memory)
	switch operation, _ := s.Args[0].(plan.Name); operation.Value {
	case unix.BPF_PROG_LOAD:
		return fmt.Sprintf("{prog_type=%s, insn_cnt=%d, insns=[...], license=\"\"}",
			valueString(uintptr(word32(m.Bytes, 0)), []named{{unix.BPF_PROG_TYPE_CGROUP_DEVICE, "BPF_PROG_TYPE_CGROUP_DEVICE"}}), word32(m.Bytes, 4))
	case unix.BPF_PROG_ATTACH:
		return fmt.Sprintf("{target_fd=%s, attach_bpf_fd=%s, attach_type=%s, attach_flags=%s}", argument(m.FDs32[0]), argument(m.FDs32[4]),
			valueString(uintptr(word32(m.Bytes, 8)), []named{{unix.BPF_CGROUP_DEVICE, "BPF_CGROUP_DEVICE"}}),
			flagString(uintptr(word32(m.Bytes, 12)), []named{{unix.BPF_F_ALLOW_MULTI, "BPF_F_ALLOW_MULTI"}}))
	}
	return argument(a)
}

// stringList writes an array of strings, as execve(2) takes it.
func stringList(_ *plan.Step, a plan.Arg) string {
	quoted := list(a)
	for i, s := range quoted {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// list is an array of strings.
func list(a plan.Arg) (list []string) {
	m, ok := a.(*plan.Memory)
	for i := 0; ok && m.Points[i] != nil; i += 8 {
		text := m.Points[i].Bytes
		list = append(list, string(text[:slices.Index(text, 0)]))
	}
	return list
}

// hex writes a number as C's "%#x" does, which differs from Go's for 0.
func hex(n uint32) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", n)
}

// quote writes a string the way strace does: C escapes in octal.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c > '~':
			b.WriteString(octalEscape(c, i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9'))
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// octalEscape writes one byte with as few digits as possible, but with three if a digit
// follows, which would otherwise seem to belong to it.
func octalEscape(c byte, digitFollows bool) string {
	if digitFollows {
		return fmt.Sprintf("\\%03o", c)
	}
	return fmt.Sprintf("\\%o", c)
}

// named is one bit (or one value) and its name in the man page.
type named struct {
	value uintptr
	name  string
}

// flagString writes the names of the bits in v, and what is left as a number.
func flagString(v uintptr, names []named) string {
	if v == 0 {
		return "0"
	}
	var parts []string
	for _, n := range names {
		if v&n.value == n.value {
			parts = append(parts, n.name)
			v &^= n.value
		}
	}
	if v != 0 {
		parts = append(parts, fmt.Sprintf("%#x", v))
	}
	return strings.Join(parts, "|")
}

// valueString writes the one name of v.
func valueString(v uintptr, names []named) string {
	for _, n := range names {
		if n.value == v {
			return n.name
		}
	}
	return fmt.Sprintf("%#x", v)
}
