package print

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// This file prints a plan as what one could type: each step as the command that
// does the same. A shell has no descriptors of directories, so a path stands for
// each: that of what it refers to. Everything follows from the calls and their
// arguments: a mount, for one, is made by fsopen, fsconfig and fsmount or copied
// by open_tree, changed by mount_setattr, and printed as mount(8) where
// move_mount attaches it.

// A shell knows what the commands of a plan depend on.
type shell struct {
	plan     *plan.Plan
	attached map[plan.Arg]*plan.Step   // by tree: the move_mount that attaches it
	previous map[*plan.Step]*plan.Step // the alternative before a step
	root     string                    // the path that pivot_root or chroot has made the root directory
	at       string                    // the path that fchdir has changed to
	before   string                    // the last command that was not left out
	closing  []string                  // the ends of the scripts that have begun
}

func newShell(p *plan.Plan) *shell {
	sh := &shell{plan: p, attached: map[plan.Arg]*plan.Step{}, previous: map[*plan.Step]*plan.Step{}}
	for _, s := range p.Steps {
		if s.Call == "move_mount" {
			sh.attached[s.Args[0]] = s
		}
		if s.Else != nil {
			sh.previous[s.Else] = s
		}
	}
	return sh
}

// Sh writes a shell script of the equivalent commands. Steps that have no
// command are comments.
func Sh(w io.Writer, p *plan.Plan) error {
	var b strings.Builder
	b.WriteString("#!/bin/sh -e\n")
	sh := newShell(p)
	for _, s := range p.Steps {
		if s.Heading != "" {
			b.WriteString("\n# == " + plan.Printable(s.Heading) + " ==\n")
		}
		if s.Note != "" {
			b.WriteString("# " + plan.Printable(s.Note) + "\n")
		}
		b.WriteString(sh.line(s) + "\n")
	}
	slices.Reverse(sh.closing)
	for _, end := range sh.closing {
		b.WriteString(end + "\n")
	}
	text := b.String()
	for _, end := range sh.closing {
		text = strings.ReplaceAll(text, end, endMark(text, strings.Trim(end, "\x00")))
	}
	_, err := io.WriteString(w, text)
	return err
}

// line is a step's line in the script. The steps of a process that clone3 makes
// are the script of another shell: what follows, up to a line that ends it.
func (sh *shell) line(s *plan.Step) string {
	line := sh.command(s)
	if sh.previous[s] != nil && sh.before != "" {
		line = "" // a shell tries the alternatives by itself
	} else {
		sh.before = line
	}
	switch {
	case s.Call == "clone3":
		if group := cloneCgroup(s.Args[0].(*plan.Memory)); group != nil {
			line = "echo $$ > " + Quote(sh.path(group, "cgroup.procs")) + "\n" + line
		}
		end := "\x00" + born(sh.plan.Steps[s.Index-1:]).String() + "\x00"
		sh.closing = append(sh.closing, end)
		return line + " sh -e /dev/fd/3 3<<'" + end + "'   # " + Step(s)
	case line == "":
		return "#   (no command) " + Step(s)
	case len(s.Tolerated) > 0 && s.Else == nil:
		return line + " 2>/dev/null || :"
	}
	return line
}

// endMark is a line that ends the script of a side and is no other line of it,
// whatever lines there are in its words. (Until now a NUL stands for it: there
// is none in any word.)
func endMark(text, side string) string {
	mark := "END_OF_" + strings.ToUpper(side)
	for strings.Contains(text, mark) {
		mark += "_"
	}
	return mark
}

// born is the side that the clone3 at the head of a list starts: that of the
// next step of another process.
func born(steps []*plan.Step) plan.Side {
	for _, s := range steps {
		if s.Side > steps[0].Side {
			return s.Side
		}
	}
	return plan.Child
}

// command is the equivalent of a step; "" if there is none.
func (sh *shell) command(s *plan.Step) string {
	if write := commands()[s.Call]; write != nil && !s.Function {
		return write(sh, s)
	}
	return ""
}

// commands are those of the calls that have one.
var commands = sync.OnceValue(func() map[string]func(sh *shell, s *plan.Step) string {
	return map[string]func(sh *shell, s *plan.Step) string{
		"chdir":         words("cd", 0),
		"chroot":        (*shell).chroot,
		"clone3":        (*shell).clone,
		"execve":        execCommand,
		"fchdir":        (*shell).fchdir,
		"fchownat":      (*shell).chown,
		"ioctl":         ioctlCommand,
		"keyctl":        keyctlCommand,
		"mkdirat":       (*shell).mkdir,
		"mknodat":       (*shell).mknod,
		"mount":         mountCommand,
		"mount_setattr": (*shell).remount,
		"move_mount":    (*shell).attach,
		"open_tree":     (*shell).openTree,
		"pivot_root":    (*shell).chroot,
		"setdomainname": words("domainname", 0),
		"sethostname":   words("hostname", 0),
		"statx":         (*shell).checkDevice,
		"symlinkat":     (*shell).symlink,
		"umask":         umaskCommand,
		"umount2":       words("umount -l", 0),
		"write":         (*shell).write,
	}
})

// words is a command whose words are arguments of the call.
func words(command string, args ...int) func(*shell, *plan.Step) string {
	return func(_ *shell, s *plan.Step) string {
		line := command
		for _, i := range args {
			line += " " + Quote(str(s, i))
		}
		return line
	}
}

// str and num are an argument of a step; "" and 0 for one of another type.

func str(s *plan.Step, i int) string { text, _ := s.Args[i].(plan.String); return string(text) }
func num(s *plan.Step, i int) int    { n, _ := s.Args[i].(plan.Num); return int(n) }

// path is that of a file below what a descriptor refers to, or with "" of that
// itself; "" if a shell has none.
func (sh *shell) path(fd plan.Arg, file string) string {
	s, ok := fd.(*plan.Step)
	if !ok {
		return sh.inside(file)
	}
	dir := ""
	switch {
	case sh.attached[s] != nil:
		dir = sh.path(sh.attached[s].Args[2], "")
	case s.Call == "openat", s.Call == "openat2", s.Call == "open_tree":
		dir = sh.path(s.Args[0], str(s, 1))
	}
	if file == "" || dir == "" {
		return dir
	}
	return strings.TrimSuffix(dir, "/") + "/" + strings.TrimPrefix(file, "/")
}

// inside is a path as it is called after pivot_root.
func (sh *shell) inside(path string) string {
	if rest, ok := strings.CutPrefix(path, sh.root); ok && sh.root != "" && (rest == "" || rest[0] == '/') {
		return "/" + strings.TrimPrefix(rest, "/")
	}
	return path
}

// guard is the condition under which a file is there that the plan may do
// without, or has another alternative for.
func (sh *shell) guard(fd plan.Arg, path string) string {
	s, ok := fd.(*plan.Step)
	switch {
	case !ok || len(s.Tolerated) == 0 && sh.previous[s] == nil:
		return ""
	case sh.previous[s] != nil && isDirectory(sh.previous[s]):
		return "[ -d " + path + " ] || [ ! -e " + path + " ] || "
	case isDirectory(s):
		return "[ ! -d " + path + " ] || "
	}
	return "[ ! -e " + path + " ] || "
}

// isDirectory says that an openat2 opens only directories.
func isDirectory(s *plan.Step) bool {
	how, ok := s.Args[len(s.Args)-2].(*plan.Memory)
	return ok && s.Call == "openat2" && word64(how.Bytes, 0)&unix.O_DIRECTORY != 0
}

// attach is mount(8) for a mount that move_mount attaches.
func (sh *shell) attach(s *plan.Step) string {
	target := Quote(sh.path(s.Args[2], ""))
	tree, ok := s.Args[0].(*plan.Step)
	if !ok || target == "''" || sh.previous[s] != nil { // the alternative of a copy that has been printed
		return ""
	}
	kind, source, options := sh.made(tree, s.Index)
	if source == "" {
		return ""
	}
	if len(options) > 0 {
		slices.Sort(options)
		kind += " -o " + Quote(strings.Join(slices.Compact(options), ","))
	}
	return sh.guard(s.Args[2], target) + "mount " + kind + " " + Quote(source) + " " + target
}

// made is how the steps before the one with the given number have made a mount.
func (sh *shell) made(tree *plan.Step, until int) (kind, source string, options []string) {
	fs := tree
	from, _ := tree.Args[0].(*plan.Step)
	switch {
	case tree.Call == "open_tree" && from != nil && from.Call == "fsmount": // not attached, so no path to copy it from
		return sh.made(from, until)
	case tree.Call == "open_tree":
		kind, source = "--bind", sh.path(tree.Args[0], str(tree, 1))
		if num(tree, 2)&unix.AT_RECURSIVE != 0 {
			kind = "--rbind"
		}
	case tree.Call == "fsmount":
		fs = from
		kind, source = "-t "+Quote(str(fs, 0)), str(fs, 0)
		options = attributes(uint64(num(tree, 2)), attributeOptions)
	default:
		return "", "", nil
	}
	for _, s := range sh.plan.Steps[:until] {
		switch {
		case s.Call == "mount_setattr" && s.Args[0] == plan.Arg(tree):
			options = append(options, attributes(word64(s.Args[3].(*plan.Memory).Bytes, 0), attributeOptions)...)
		case s.Call != "fsconfig" || s.Args[0] != plan.Arg(fs) || num(s, 1) == unix.FSCONFIG_CMD_CREATE:
		case str(s, 2) == "source":
			source = str(s, 3)
		case num(s, 1) == unix.FSCONFIG_SET_FLAG:
			options = append(options, str(s, 2))
		default:
			options = append(options, str(s, 2)+"="+str(s, 3))
		}
	}
	return kind, source, options
}

// remount is mount(8) for a mount that is attached already.
func (sh *shell) remount(s *plan.Step) string {
	tree, ok := s.Args[0].(*plan.Step)
	if !ok || sh.attached[tree] == nil && tree.Call == "open_tree" || sh.attached[tree] != nil && sh.attached[tree].Index > s.Index {
		return "" // part of what attach prints
	}
	path, attr := Quote(sh.path(tree, "")), s.Args[3].(*plan.Memory).Bytes
	if path == "''" {
		return ""
	}
	var lines []string
	if set := attributes(word64(attr, 0), attributeOptions); len(set) > 0 {
		lines = append(lines, "mount -o remount,bind,"+strings.Join(set, ",")+" "+path)
	}
	propagation := uintptr(word64(attr, 16))
	if num(s, 2)&unix.AT_RECURSIVE != 0 {
		propagation |= unix.MS_REC
	}
	for _, o := range mountSwitches {
		if propagation == o.value {
			lines = append(lines, "mount "+o.name+" "+path)
		}
	}
	return strings.Join(lines, "\n")
}

// openTree has a command only if the copy of a mount is never attached.
func (sh *shell) openTree(s *plan.Step) string {
	if num(s, 2)&unix.OPEN_TREE_CLONE == 0 || sh.attached[s] != nil {
		return ""
	}
	return "# a shell has no mount that is attached nowhere: what is mounted below this one stays on the host"
}

func (sh *shell) fchdir(s *plan.Step) string {
	sh.at = sh.path(s.Args[0], "")
	if sh.at == "" {
		return ""
	}
	return "cd " + Quote(sh.at)
}

// chroot is pivot_root(8) or chroot(8). From here on paths are shorter.
func (sh *shell) chroot(s *plan.Step) string {
	sh.root = sh.at
	if s.Call == "chroot" {
		return words("chroot", 0)(sh, s)
	}
	return words("pivot_root", 0, 1)(sh, s)
}

// clone is unshare(1), for the namespaces of clone3 and those that the new
// process leaves by itself; or setsid(1) for a monitor.
func (sh *shell) clone(s *plan.Step) string {
	side := born(sh.plan.Steps[s.Index-1:])
	if side == plan.Monitor {
		return "setsid --fork"
	}
	namespaces := word64(s.Args[0].(*plan.Memory).Bytes, 0)
	for _, other := range sh.plan.Steps {
		if other.Call == "unshare" && other.Side == side {
			namespaces |= uint64(num(other, 0))
		}
	}
	return strings.Join(slices.Concat([]string{"unshare"}, attributes(namespaces, unshareOptions), []string{"--fork"}), " ")
}

func execCommand(_ *shell, s *plan.Step) string {
	argv := list(s.Args[1])
	words := append([]string{str(s, 0)}, argv[min(1, len(argv)):]...)
	if len(argv) > 0 && !strings.Contains(argv[0], "/") {
		words[0] = argv[0] // env(1) searches the new PATH
	}
	words = append(list(s.Args[2]), words...)
	for i, word := range words {
		words[i] = Quote(word)
	}
	return "exec env -i " + strings.Join(words, " ")
}

func ioctlCommand(_ *shell, s *plan.Step) string {
	request, ok := s.Args[2].(*plan.Memory)
	if !ok || num(s, 1) != unix.SIOCSIFFLAGS {
		return ""
	}
	name, _, _ := strings.Cut(string(request.Bytes[:unix.IFNAMSIZ]), "\x00")
	return "ip link set " + Quote(name) + " up"
}

func keyctlCommand(_ *shell, s *plan.Step) string {
	if operation, _ := s.Args[0].(plan.Name); operation.Value == unix.KEYCTL_JOIN_SESSION_KEYRING {
		return "keyctl new_session"
	}
	return ""
}

func umaskCommand(_ *shell, s *plan.Step) string { return fmt.Sprintf("umask %04o", num(s, 0)) }

func (sh *shell) mkdir(s *plan.Step) string {
	path := sh.path(s.Args[0], str(s, 1))
	if path == "" {
		return ""
	}
	return fmt.Sprintf("mkdir -m %o %s", num(s, 2), Quote(path))
}

func (sh *shell) mknod(s *plan.Step) string {
	path, perm := Quote(sh.path(s.Args[0], str(s, 1))), num(s, 2)
	if path == "''" {
		return ""
	}
	letter := map[int]string{unix.S_IFCHR: "c", unix.S_IFBLK: "b", unix.S_IFIFO: "p"}[perm&unix.S_IFMT]
	switch letter {
	case "":
		return "[ -e " + path + " ] || touch " + path
	case "p":
		return fmt.Sprintf("mkfifo -m %o %s", perm&0o777, path)
	}
	dev := uint64(num(s, 3))
	return fmt.Sprintf("mknod -m %o %s %s %d %d", perm&0o777, path, letter, unix.Major(dev), unix.Minor(dev))
}

func (sh *shell) symlink(s *plan.Step) string {
	path := sh.path(s.Args[1], str(s, 2))
	if path == "" {
		return ""
	}
	return "ln -s " + Quote(str(s, 0)) + " " + Quote(path)
}

// chown is chown(1), in which an id that is not to be changed is missing.
func (sh *shell) chown(s *plan.Step) string {
	path, owner := sh.path(s.Args[0], str(s, 1)), ""
	if uid := num(s, 2); uid != -1 {
		owner = fmt.Sprint(uid)
	}
	if gid := num(s, 3); gid != -1 {
		owner += fmt.Sprint(":", gid)
	}
	if path == "" {
		return ""
	}
	return "chown -h " + owner + " " + Quote(path)
}

// checkDevice is a test of what stat(1) says.
func (sh *shell) checkDevice(s *plan.Step) string {
	file, ok := s.Args[0].(*plan.Step)
	if !ok || len(s.Verified) != 2 || len(file.Args) < 2 {
		return ""
	}
	path := sh.path(file.Args[0], str(file, 1))
	if path == "" {
		return ""
	}
	_, major, minor := device(s)
	return fmt.Sprintf(`[ "$(stat -L -c %%t:%%T %s)" = %x:%x ]`, Quote(path), major, minor)
}

// write is echo(1) into a file of the host's, of cgroups for one. What the child
// writes is not for a shell, but for the file in which a process puts itself
// into a group: a shell is another process, and is meant by 0.
func (sh *shell) write(s *plan.Step) string {
	data, ok := s.Args[1].(*plan.Memory)
	path := sh.path(s.Args[0], "")
	if !ok || path == "" || s.Side != plan.Runtime && !strings.HasSuffix(path, "/tasks") {
		return ""
	}
	path = Quote(path)
	return sh.guard(s.Args[0], path) + "echo " + Quote(strings.TrimSuffix(string(data.Bytes), "\n")) + " > " + path
}

// mountCommand is mount(8) for mount(2).
func mountCommand(_ *shell, s *plan.Step) string {
	flags := uint64(num(s, 3))
	words := []string{"mount"}
	if fstype := str(s, 2); fstype != "" && flags&unix.MS_BIND == 0 {
		words = append(words, "-t", Quote(fstype))
	}
	for _, o := range mountSwitches {
		if uintptr(flags)&(o.value|unix.MS_REC) == o.value {
			words = append(words, o.name)
		}
	}
	options := attributes(flags, mountOptions)
	if data := str(s, 4); data != "" {
		options = append([]string{data}, options...)
	}
	if len(options) > 0 {
		words = append(words, "-o", Quote(strings.Join(options, ",")))
	}
	if source := str(s, 0); source != "" {
		words = append(words, Quote(source))
	}
	return strings.Join(append(words, Quote(str(s, 1))), " ")
}

// attributes are the options for the bits that are set.
func attributes(flags uint64, names []named) (options []string) {
	for _, o := range names {
		if uintptr(flags)&o.value == o.value {
			options = append(options, o.name)
		}
	}
	return options
}

// mountOptions are the options of mount(8) that are flags of mount(2).
var mountOptions = []named{
	{unix.MS_RDONLY, "ro"}, {unix.MS_NOSUID, "nosuid"}, {unix.MS_NODEV, "nodev"}, {unix.MS_NOEXEC, "noexec"},
	{unix.MS_REMOUNT, "remount"}, {unix.MS_NOATIME, "noatime"}, {unix.MS_NODIRATIME, "nodiratime"},
	{unix.MS_RELATIME, "relatime"}, {unix.MS_STRICTATIME, "strictatime"},
}

// attributeOptions are those that are flags of mount_setattr(2) and fsmount(2).
var attributeOptions = []named{
	{unix.MOUNT_ATTR_RDONLY, "ro"}, {unix.MOUNT_ATTR_NOSUID, "nosuid"}, {unix.MOUNT_ATTR_NODEV, "nodev"}, {unix.MOUNT_ATTR_NOEXEC, "noexec"},
	{unix.MOUNT_ATTR_NOATIME, "noatime"}, {unix.MOUNT_ATTR_STRICTATIME, "strictatime"},
	{unix.MOUNT_ATTR_NODIRATIME, "nodiratime"}, {unix.MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"},
}

// mountSwitches are the options of mount(8) that name another operation.
var mountSwitches = []named{
	{unix.MS_BIND, "--bind"}, {unix.MS_BIND | unix.MS_REC, "--rbind"},
	{unix.MS_PRIVATE, "--make-private"}, {unix.MS_PRIVATE | unix.MS_REC, "--make-rprivate"},
	{unix.MS_SLAVE, "--make-slave"}, {unix.MS_SLAVE | unix.MS_REC, "--make-rslave"},
	{unix.MS_SHARED, "--make-shared"}, {unix.MS_SHARED | unix.MS_REC, "--make-rshared"},
	{unix.MS_UNBINDABLE, "--make-unbindable"}, {unix.MS_UNBINDABLE | unix.MS_REC, "--make-runbindable"},
}

// unshareOptions are the options of unshare(1).
var unshareOptions = []named{
	{unix.CLONE_NEWUSER, "--user"}, {unix.CLONE_NEWPID, "--pid"}, {unix.CLONE_NEWNET, "--net"}, {unix.CLONE_NEWIPC, "--ipc"},
	{unix.CLONE_NEWUTS, "--uts"}, {unix.CLONE_NEWCGROUP, "--cgroup"}, {unix.CLONE_NEWTIME, "--time"}, {unix.CLONE_NEWNS, "--mount"},
}

// Quote quotes a word for sh(1) where it needs it.
func Quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(shellSafe, r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

const shellSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@%+"
