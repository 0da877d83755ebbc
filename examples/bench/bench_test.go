package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{[]float64{5}, 0.9, 5},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 0.1, 2},
		{[]float64{1, 2}, 1, 2},
	} {
		if got := quantile(c.values, c.q); got != c.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", c.values, c.q, got, c.want)
		}
	}
	if got := quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("quantile of nothing = %v, want NaN", got)
	}
}

func TestNiceStep(t *testing.T) {
	for most, want := range map[float64]float64{0: 1, 4: 1, 7: 2, 12: 5, 48000: 10000, 51000: 20000, 900: 200} {
		if got := niceStep(most); got != want {
			t.Errorf("niceStep(%v) = %v, want %v", most, got, want)
		}
	}
}

func TestCgroup2In(t *testing.T) {
	const hybrid = `28 25 0:24 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
29 28 0:25 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
37 28 0:33 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
`
	if got, want := cgroup2In(strings.NewReader(hybrid)), "/sys/fs/cgroup/unified"; got != want {
		t.Errorf("cgroup2In(hybrid) = %q, want %q", got, want)
	}
	if got := cgroup2In(strings.NewReader("28 25 0:24 / /a rw - tmpfs cgroup2 rw\n")); got != "" {
		t.Errorf("cgroup2In(no cgroup2) = %q, want none", got)
	}
}

func TestField(t *testing.T) {
	const rollup = "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:     900 kB\nPss:     321 kB\nPss_Dirty:  12 kB\n"
	if got, want := field(strings.NewReader(rollup), "Pss"), "321 kB"; got != want {
		t.Errorf("field(Pss) = %q, want %q", got, want)
	}
}

// sample is a result in which everybody takes what the test says, in µs.
func sample(name string, usec map[string]float64) result {
	r := result{Name: name, Title: name + " <&>"}
	for _, c := range []string{minirunc, crun, runc, sameC} {
		if u, ok := usec[c]; ok {
			r.Rows = append(r.Rows, row{Candidate: c, Usec: []float64{u}})
		} else {
			r.Rows = append(r.Rows, row{Candidate: c, Err: "not there"})
		}
	}
	return r
}

func TestVerdict(t *testing.T) {
	b := budget{"run", crun, 0.75, 0.6}
	for _, c := range []struct {
		usec map[string]float64
		want string
	}{
		{map[string]float64{minirunc: 70, crun: 100}, "budget ≤ 0.75 × crun (aim 0.6): 0.70 ok"},
		{map[string]float64{minirunc: 80, crun: 100}, "budget ≤ 0.75 × crun (aim 0.6): 0.80 OVER"},
		{map[string]float64{crun: 100}, "budget ≤ 0.75 × crun (aim 0.6): not measured"},
	} {
		if got := b.verdict(sample("run", c.usec)); got != c.want {
			t.Errorf("verdict(%v) = %q, want %q", c.usec, got, c.want)
		}
	}
}

func Example_report() {
	r := &report{}
	r.add(os.Stdout, sample("exec", map[string]float64{minirunc: 3000, crun: 6000}))
	fmt.Println(r.failed)
	// Output:
	// exec <&>                                 median µs      p10      p90   × crun      × C
	//   minirunc                                    3000     3000     3000     0.50
	//   crun                                        6000     6000     6000     1.00
	//   runc                                  did not run: not there
	//   C program                             did not run: not there
	//   budget ≤ 0.65 × crun (aim 0.5): 0.50 ok
	// true
}

// A picture must be XML whatever was measured, even nothing.
func TestPlotIsXML(t *testing.T) {
	for _, r := range []*report{
		{},
		{Operations: []result{sample("run", nil)}},
		{Operations: []result{sample("run", map[string]float64{minirunc: 7000, crun: 10000, sameC: 4000}), sample("state", map[string]float64{runc: 9})}},
	} {
		d := xml.NewDecoder(strings.NewReader(plot(r)))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("plot(%d operations): %v", len(r.Operations), err)
			}
		}
	}
}

func TestOptionsCheck(t *testing.T) {
	for _, o := range []options{{rounds: 0}, {rounds: 1, only: "run,fly"}} {
		if err := o.check(); err == nil {
			t.Errorf("check(%+v) = nil, want an error", o)
		}
	}
	if !(options{only: "run,exec"}).wants("exec") || (options{only: "run"}).wants("exec") || !(options{}).wants("exec") {
		t.Error("wants: -only does not choose what it names")
	}
}

// The C program is a bound on runtimes only as long as it really makes a
// container: this test looks at it from within.
func TestSameIsAContainer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a container is made")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc, which compiles c/same.c: install the package gcc")
	}
	dir := t.TempDir()
	if err := errors.Join(makeRoot(dir), compile(dir, "same", filepath.Join(dir, "same"))); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "rootfs/bin/look"), "./testdata/look")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // a container has no libraries
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", build, err, out)
	}
	cgroups, err := findCgroup2()
	if err != nil {
		t.Skipf("no cgroup v2 hierarchy: %v", err)
	}
	group := filepath.Join(cgroups, filepath.Base(dir)+"-same")
	out, err := exec.Command(filepath.Join(dir, "same"), filepath.Join(dir, "rootfs"), group, "/bin/look").CombinedOutput()
	if err == nil || err.Error() != "exit status 7" {
		t.Errorf("same: %v, want exit status 7", err)
	}
	if string(out) != wantLook {
		t.Errorf("in the container:\n%swant\n%s", out, wantLook)
	}
	if _, err := os.Stat(group); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("cgroup after the end: %v, want %v", err, os.ErrNotExist)
	}
}

const wantLook = `pid 1 on bench
mounts / /dev /dev/mqueue /dev/pts /dev/shm /proc /sys /sys/fs/cgroup
cgroup 0::/
status CapBnd 0000000020000420
status CapEff 0000000020000420
status CapInh 0000000000000000
status NoNewPrivs 1
descriptors 0 1 2
links lo
create /new: read-only file system
create /proc/sys/kernel/hostname: read-only file system
open /dev/null: ok
entries of /sys/firmware: 0
`
