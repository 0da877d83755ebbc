package container

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"minirun/container/config"
	"minirun/container/exit"
	"minirun/plan"
	"minirun/plan/print"
)

// detach starts a detached container like Root.New, but with descriptors of which
// the test has chosen the numbers.
func (r request) detach() error {
	c, err := Root(r.Root).make(r.ID)
	if err != nil {
		return err
	}
	defer c.Unlock()
	spec, _, err := config.Read(r.Bundle)
	if err != nil {
		return err
	}
	b := newBuilder(c, r.Bundle, spec, Options{Monitor: true})
	if err := b.check(); err != nil {
		return err
	}
	p, err := b.plan()
	if err != nil {
		return err
	}
	_, err = p.Start(plan.Options{FirstFD: 3, Inherited: r.Numbers, Notation: print.Step})
	return err
}

// TestMonitorDescriptors: a monitor has the null device as descriptors 0, 1 and 2,
// and as 3 the file into which it writes how the container ended, whichever numbers
// the two had in the runtime.
func TestMonitorDescriptors(t *testing.T) {
	needRoot(t)
	for _, first := range []plan.Inherited{"null", "exit", "neither"} {
		b := newBox(t, "sleep 1000")
		b.save()
		r := b.request("detach")
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		must(t, err)
		defer null.Close()
		file, err := os.Create(filepath.Join(t.TempDir(), exit.File))
		must(t, err)
		defer file.Close()
		files := map[plan.Inherited][]*os.File{"null": {null, file}, "exit": {file, null}, "neither": {null, null, file}}[first]
		r.Numbers = map[plan.Inherited]int{}
		for i, f := range files {
			r.Numbers[map[*os.File]plan.Inherited{null: "null", file: "exit"}[f]] = 3 + i
		}
		cmd := r.command(t)
		cmd.ExtraFiles, cmd.Stderr = files, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Errorf("%s is descriptor 3: %v", first, err)
			continue
		}
		c, err := b.root.Load(b.id)
		must(t, err)
		monitor := parent(t, c.Pid)
		for fd, want := range []string{os.DevNull, os.DevNull, os.DevNull, file.Name()} {
			if got, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", monitor, fd)); got != want || err != nil {
				t.Errorf("%s is descriptor 3: the monitor's descriptor %d is %q, %v; want %q", first, fd, got, err, want)
			}
		}
		b.remove()
		info, err := file.Stat()
		for end := time.Now().Add(10 * time.Second); err == nil && info.Size() != exit.Size && time.Now().Before(end); info, err = file.Stat() {
			time.Sleep(time.Millisecond) // the monitor is a process of its own
		}
		if err != nil || info.Size() != exit.Size {
			t.Errorf("%s is descriptor 3: %v, %v; want %d bytes", first, info, err, exit.Size)
		}
	}
}
