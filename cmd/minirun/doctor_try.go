package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/plan"
)

// What doctor tries, it tries in a child: minirun itself, in new namespaces, with the
// hidden flag --inside. Mounts and namespaces go with the child; directories and groups
// are removed here.

// try starts the child. It prints nothing but why something does not work.
func try(attr *syscall.SysProcAttr, what string, arguments ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, append([]string{"doctor", "--inside", what, "--"}, arguments...)...)
	cmd.SysProcAttr = attr
	text, err := cmd.CombinedOutput()
	var start *os.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &start): // of fork and exec the errno alone says something here
		return start.Err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return errors.New(strings.TrimPrefix(first, "minirun: "))
}

// inside is what the child does.
func inside(what string, arguments []string) error {
	switch what {
	case "overlay":
		return mountOverlay(arguments[0], arguments[1:])
	case "mount":
		return privateMounts()
	case "seccomp":
		return loadFilter()
	}
	return nil // it was born, which is all that was to be tried
}

// privateMounts cuts the ties of a new mount namespace to the host's, which any mount
// needs first, and which wants CAP_SYS_ADMIN there.
func privateMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return nil
}

// mountOverlay mounts an overlay as a container's root is, and writes to it: a new file, and
// the removal of one of the layer's.
func mountOverlay(dir string, options []string) error {
	if err := privateMounts(); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	options = append([]string{"lowerdir=" + in("lower"), "upperdir=" + in("upper"), "workdir=" + in("work")}, options...)
	if err := unix.Mount("overlay", in("merged"), "overlay", 0, strings.Join(options, ",")); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	return errors.Join(os.WriteFile(in("merged/new"), nil, 0o600), os.Remove(in("merged/old")))
}

// loadFilter loads a seccomp filter that allows everything.
func loadFilter() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	program := unix.SockFprog{Len: 1, Filter: &allow}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return fmt.Errorf("load a filter: %w", errno)
	}
	return nil
}

// newNamespaces is a child in new namespaces; for an ordinary user in a user namespace, too,
// in which the user is root.
func newNamespaces(flags uintptr) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: flags}
	if os.Geteuid() != 0 || flags&unix.CLONE_NEWUSER != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

func tryUserNamespace(*cli.Context) (string, error) {
	if err := try(newNamespaces(unix.CLONE_NEWUSER|unix.CLONE_NEWNS), "mount"); err != nil {
		return "", fmt.Errorf("%w (user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns decide)", err)
	}
	return fmt.Sprintf("made one, as user %d", os.Geteuid()), nil
}

func tryTimeNamespace(*cli.Context) (string, error) {
	attr := newNamespaces(0)
	attr.Unshareflags = unix.CLONE_NEWTIME // clone(2) has no such flag
	if err := try(attr, "nothing"); err != nil {
		return "", fmt.Errorf("a new time namespace: %w", err)
	}
	return "made one", nil
}

func trySeccomp(*cli.Context) (string, error) {
	return "loaded a filter", try(nil, "seccomp")
}

// tryOverlay mounts an overlay where the roots of containers will be: what is there
// decides whether overlayfs can write to it.
func tryOverlay(c *cli.Context) (found string, err error) {
	dir, err := makeLayers(c.String("store"))
	defer func() {
		os.Chmod(filepath.Join(dir, "work/work"), 0o700) // overlayfs's: nobody may read it, so RemoveAll could not. ENOENT: no mount
		err = errors.Join(err, os.RemoveAll(dir))        // "": nothing
	}()
	if err != nil {
		return "", err
	}
	arguments := []string{dir}
	if os.Geteuid() != 0 {
		arguments = append(arguments, "userxattr")
	}
	if err := try(newNamespaces(unix.CLONE_NEWNS), "overlay", arguments...); err != nil {
		return "", fmt.Errorf("in %s: %w%s", filepath.Dir(dir), err, whyNoOverlay(dir))
	}
	return "mounted one in " + filepath.Dir(dir), nil
}

// makeLayers makes the directories for an overlay in the store or, if that is not there yet,
// in the directory in which it will be made.
func makeLayers(store string) (dir string, err error) {
	if store, err = filepath.Abs(store); err != nil {
		return "", err
	}
	for unix.Access(store, unix.F_OK) == unix.ENOENT && store != "/" {
		store = filepath.Dir(store)
	}
	if dir, err = os.MkdirTemp(store, "doctor-"); err != nil {
		return "", err
	}
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return dir, err
		}
	}
	return dir, os.WriteFile(filepath.Join(dir, "lower/old"), nil, 0o644)
}

// whyNoOverlay says more where the cause is known.
func whyNoOverlay(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) == nil && s.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return " (that is on an overlay itself, which no overlay can write to: give --store, on another file system)"
	}
	if text, err := os.ReadFile("/proc/filesystems"); err == nil && !strings.Contains(string(text), "\toverlay\n") {
		return " (the kernel has no overlay: modprobe overlay)"
	}
	return ""
}

// group makes a group where those of containers are, for as long as do takes.
func group(do func(g *cgroups.Group) (string, error)) (found string, err error) {
	h, err := cgroups.Find()
	if err != nil {
		return "", err
	}
	path := fmt.Sprintf("minirun-doctor-%d", os.Getpid())
	if os.Geteuid() == 0 {
		path = "/" + path
	}
	g, err := h.Group(path)
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(g.Dir, 0o755); err != nil && os.Geteuid() != 0 {
		return "", fmt.Errorf("%w: no limits (a systemd user session delegates a group)", err)
	} else if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, g.Destroy()) }()
	return do(g)
}

// tryCgroup starts a process in a new group.
func tryCgroup(*cli.Context) (string, error) {
	return group(func(g *cgroups.Group) (string, error) {
		dir, err := os.Open(g.Dir)
		if err != nil {
			return "", err
		}
		defer dir.Close()
		if err := try(&syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}, "nothing"); err != nil {
			return "", fmt.Errorf("start a process in %s: %w", g.Dir, err)
		}
		return "made one in " + filepath.Dir(g.Dir), nil
	})
}

// limits are what run's flags write; here they limit nothing.
var limits = []cgroups.Write{{File: "cpu.max", Value: "max"}, {File: "memory.max", Value: "max"}, {File: "pids.max", Value: "max"}}

// tryControllers sets a limit by each controller. It says why those that are missing are.
func tryControllers(*cli.Context) (string, error) {
	return group(func(g *cgroups.Group) (string, error) {
		var have []string
		var failed error
		for _, limit := range limits {
			if err := tryLimit(g, limit); err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			have = append(have, limit.Controller())
		}
		return strings.Join(have, " "), failed
	})
}

// tryLimit sets a limit of a group. A controller that the groups above do not hand down yet
// stays as it is, because handing it down would change the groups of others: then the
// answer is that of run, which looks at the same files before it does so.
func tryLimit(g *cgroups.Group, limit cgroups.Write) error {
	if _, err := g.Add(&plan.Plan{}, []cgroups.Write{limit}); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(g.Dir, limit.File), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.WriteString(limit.Value)
	return err
}
