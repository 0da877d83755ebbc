package course

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"minirun/container"
	"minirun/container/bundle"
	"minirun/container/exit"
	"minirun/container/files"
	"minirun/container/procfs"
	"minirun/rootfs/image"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Container is the student's, as minirun's files and the kernel tell of it.
type Container struct {
	Name, ID string
	Running  bool
	Pid      int    // of its first process, on the host; also after it has ended
	Cgroup   string // directory
	Spec     *specs.Spec
	Ended    *exit.Status // nil: it has not ended, or nobody was there to see it
}

// FindContainer finds a container by its name. It is nil if there is none.
func FindContainer(name string) (*Container, error) {
	b, err := bundle.DefaultStore().Find(name)
	if errors.Is(err, bundle.ErrNoSuch) || err == nil && b.Annotation(bundle.Name) != name {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &Container{Name: name, ID: b.ID, Spec: b.Spec}
	k, err := container.Root(files.DefaultRoot()).Load(b.ID)
	if errors.Is(err, container.ErrNotExist) {
		return c, nil // made, but not started yet; or the machine has booted since
	}
	if err != nil {
		return nil, err
	}
	status, err := k.Status()
	if err != nil {
		return nil, err
	}
	c.Pid, c.Cgroup = k.Pid, k.Cgroup
	c.Running = status == specs.StateRunning || status == "paused"
	if e, ok := exit.Read(k.Dir(), k.Identity); status == specs.StateStopped && ok {
		c.Ended = &e
	}
	return c, nil
}

// Processes are those in the pid namespace of a process, which is on the host: of a
// container all of its own, unless it shares the host's namespace.
func Processes(pid int) ([]*procfs.Process, error) {
	all, err := procfs.Read("/proc")
	if err != nil {
		return nil, err
	}
	var list []*procfs.Process
	for _, p := range procfs.Members("/proc", all)[namespaceOf(pid, "pid")] {
		list = append(list, p)
	}
	return list, nil
}

// Find returns the process with these words as its command; nil if there is none.
func Find(list []*procfs.Process, words ...string) *procfs.Process {
	for _, p := range list {
		if strings.Join(p.Command, "\x00") == strings.Join(words, "\x00") {
			return p
		}
	}
	return nil
}

// namespaceOf is a process's namespace, as in "pid:[4026531836]"; "" if it cannot be read.
func namespaceOf(pid int, kind string) string {
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		return ""
	}
	return link
}

// Namespace is the namespace of a process by its kind, such as "uts", as the kernel
// writes it: "uts:[4026531838]"; "" if the process is gone or may not be looked at.
func Namespace(pid int, kind string) string { return namespaceOf(pid, kind) }

// HasImage says whether minirun's store has an image.
func HasImage(name string) (bool, error) {
	o := image.Options{}
	if os.Geteuid() != 0 {
		o.Ownership = image.Mine
	}
	s, err := image.Open(string(bundle.DefaultStore()), o)
	if err != nil {
		return false, err
	}
	if _, err = s.Find(name); errors.Is(err, image.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Minirun is the path of minirun: that in PATH, or the one beside our own program.
func Minirun() (string, error) {
	path, err := exec.LookPath("minirun")
	if err == nil {
		return path, nil
	}
	self, selfErr := os.Executable()
	if selfErr != nil {
		return "", err
	}
	return exec.LookPath(filepath.Join(filepath.Dir(self), "minirun"))
}

// Remove removes a container with everything that runs in it. One that is not there is
// no error.
func Remove(name string) error {
	c, err := FindContainer(name)
	if c == nil || err != nil {
		return err
	}
	program, err := Minirun()
	if err != nil {
		return err
	}
	if out, err := exec.Command(program, "rm", "-f", c.ID).CombinedOutput(); err != nil {
		return fmt.Errorf("minirun rm -f %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
