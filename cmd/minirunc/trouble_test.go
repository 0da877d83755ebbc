package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/cmd/report"
	"minirun/cmd/testbed"
)

// What TestFaults does call by call, here with what a machine in trouble does: a
// full disk, few descriptors, a file system that has become read-only.

// TestNoSpace: the directory of states has room for nothing, or for one file or
// page, or two, … Everything either works or says what there is no space for.
func TestNoSpace(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	for _, m := range testbed.Makers {
		t.Run(m.Name, func(t *testing.T) {
			f := bareField(t, m)
			states := testbed.MountTmpfs(t, f.Dir+"/root", m.UID)
			f.Keep()
			for _, v := range verbs {
				if v.groups && m.UID != 0 || v.looks {
					continue
				}
				succeeded := 0
				for _, r := range testbed.Room(4) {
					f.ready(v)
					states.Leave(r[0], r[1])
					out, err := f.Do(v.args)
					what := fmt.Sprintf("%s with room for %d pages and %d files", v.name, r[0], r[1])
					if err == nil {
						succeeded++
					} else if !strings.Contains(out, "no space left on device") {
						t.Errorf("%s: %v, %q; want ENOSPC", what, err, out)
					}
					f.after(what, out, err != nil, false, v)
					states.Leave(testbed.Enough, testbed.Enough)
				}
				if succeeded == 0 || v.makes && succeeded == len(testbed.Room(4)) {
					t.Errorf("%s succeeded %d times of %d, want some", v.name, succeeded, len(testbed.Room(4)))
				}
			}
		})
	}
}

const readOnly = "read-only file system"

// TestReadOnly: the directory of states has become read-only. What is there can
// be looked at and entered; what would change it says why it does not.
func TestReadOnly(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	f := bareField(t, testbed.Makers[0])
	testbed.MountTmpfs(t, f.Dir+"/root", 0)
	f.Keep()
	for _, v := range verbs {
		if v.groups {
			continue // they write to cgroups only
		}
		f.ready(v)
		testbed.Must(t, unix.Mount("", f.Dir+"/root", "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		out, err := f.Do(v.args)
		testbed.Must(t, unix.Mount("", f.Dir+"/root", "", unix.MS_REMOUNT, ""))
		if err != nil && !strings.Contains(out, readOnly) || (err == nil) != (v.looks || strings.HasPrefix(v.name, "exec") || v.name == "kill") {
			t.Errorf("%s where states are read-only: %v, %q", v.name, err, out)
		}
		f.after(v.name, out, err != nil, false, v)
	}
}

// TestFewDescriptors: from about as many as a Go program needs for itself, up to
// where it works.
func TestFewDescriptors(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	for _, m := range testbed.Makers {
		t.Run(m.Name, func(t *testing.T) {
			f := newField(t, m)
			first, step := report.FewestDescriptors-1, 16
			if *testbed.EveryFault {
				first, step = 8, 1
			}
			for _, v := range verbs {
				if v.groups && m.UID != 0 {
					continue
				}
				for n, worked := first, 0; worked < 2; n += step {
					f.ready(v)
					cmd := f.Command(v.args)
					cmd.Args = append([]string{"prlimit", "--nofile=" + strconv.Itoa(n) + ":" + strconv.Itoa(n)}, cmd.Args...)
					cmd.Args[2] = cmd.Path
					cmd.Path, _ = exec.LookPath("prlimit")
					var err error
					out := f.Printed(cmd, func() { err = cmd.Run() })
					what := fmt.Sprintf("%s with %d descriptors", v.name, n)
					if err == nil {
						worked++
					} else if n > testbed.Enough || !strings.Contains(out, "too many open files") && n >= report.FewestDescriptors {
						t.Fatalf("%s: %v, %q; want EMFILE", what, err, out)
					}
					f.after(what, out, err != nil, false, v)
				}
			}
		})
	}
}

// TestFullOutput: what cannot be printed is an error of every command that
// prints, be it by the line.
func TestFullOutput(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	testbed.Must(t, err)
	defer full.Close()
	commands := []string{"--help", "--version", "run --help", "features"}
	if os.Geteuid() == 0 {
		b := newBundle(t, "sleep", "1000")
		minirunc(t, nil, "run", "-d", "--bundle", b, "seen")
		defer minirunc(t, nil, "delete", "-f", "seen")
		commands = append(commands, "list", "list -q", "list -f json", "state seen", "ps seen", "ps -f json seen", "plan --bundle "+b)
	}
	for _, words := range commands {
		cmd := exec.Command("minirunc", strings.Fields(words)...)
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = full, &stderr
		if cmd.Run() == nil || strings.Count(stderr.String(), "standard output: write /dev/stdout: no space left on device\n") != 1 {
			t.Errorf("%s > /dev/full: %v, %q; want one line about standard output", words, cmd.ProcessState, stderr.String())
		}
	}
}
