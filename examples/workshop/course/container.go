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

// Running finds the container of the attempt's value key. The verdict is nil if it runs;
// else it says how to run it.
func (a *Attempt) Running(key, command string) (*Container, *Verdict) {
	if v := HidesProcesses(); v != nil {
		return nil, v
	}
	name := a.Values[key]
	c, err := FindContainer(name)
	if err != nil {
		v := IsCannot("%v", "%v", err)
		return nil, &v
	}
	if c == nil || !c.Running {
		v := IsNotYet("no container %s runs. Start it: %s", "%s 컨테이너가 아직 없습니다. 먼저 띄우세요: %s", name, Fill(command, a.Values))
		return c, &v
	}
	return c, nil
}

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
// no error; its name may still be, if who removed it was killed, and minirun forgets that, too.
func Remove(name string) error {
	c, err := FindContainer(name)
	if err != nil {
		return err
	}
	word := name
	if c != nil {
		word = c.ID
	}
	program, err := Minirun()
	if err != nil {
		return err
	}
	if out, err := exec.Command(program, "rm", "-f", word).CombinedOutput(); err != nil {
		return fmt.Errorf("minirun rm -f %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
