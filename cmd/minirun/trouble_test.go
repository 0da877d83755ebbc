package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What TestFaults does call by call, here with what a machine in trouble does: a
// full disk, few descriptors, a file system that has become read-only.

// A tmpfs is a file system in memory whose room the tests take away and give back.
type tmpfs struct {
	t   testing.TB
	dir string
}

// mountTmpfs covers a directory, which is the user's, until the test has ended.
func mountTmpfs(t testing.TB, dir string, uid int) tmpfs {
	t.Helper()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("mode=700,uid=%d,gid=%d", uid, uid)))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return tmpfs{t, dir}
}

// leave leaves room for so many more pages and files.
func (m tmpfs) leave(pages, files int) {
	m.t.Helper()
	var s unix.Statfs_t
	must(m.t, unix.Statfs(m.dir, &s))
	blocks, inodes := int(s.Blocks-s.Bfree)+pages, int(s.Files-s.Ffree)+files
	must(m.t, unix.Mount("", m.dir, "", unix.MS_REMOUNT, fmt.Sprintf("nr_blocks=%d,nr_inodes=%d", max(1, blocks), inodes)))
}

const enough = 1000 // pages, files, descriptors

// room is the walk: from none on, for pages and then for files; every third one,
// but with -faults.
func room(most int) (list [][2]int) {
	step := 3
	if *everyFault {
		step = 1
	}
	for n := 0; n < most; n += step {
		list = append(list, [2]int{n, enough}, [2]int{enough, n})
	}
	return list
}

// TestNoSpace: the directory of states has room for nothing, or for one file or
// page, or two, … Everything either works or says what there is no space for.
func TestNoSpace(t *testing.T) {
	needRoot(t)
	programsTar = imageTar(t)
	for _, m := range makers {
		t.Run(m.name, func(t *testing.T) {
			f := bareField(t, m)
			states := mountTmpfs(t, f.dir+"/root", m.uid)
			f.keep()
			for _, v := range verbs {
				if v.groups && m.uid != 0 || v.looks {
					continue
				}
				succeeded := 0
				for _, r := range room(4) {
					f.ready(v)
					states.leave(r[0], r[1])
					out, err := f.do(v.args)
					what := fmt.Sprintf("%s with room for %d pages and %d files", v.name, r[0], r[1])
					if err == nil {
						succeeded++
					} else if !strings.Contains(out, "no space left on device") {
						t.Errorf("%s: %v, %q; want ENOSPC", what, err, out)
					}
					f.after(what, out, err != nil, false, v)
					states.leave(enough, enough)
				}
				if succeeded == 0 || v.makes && succeeded == len(room(4)) {
					t.Errorf("%s succeeded %d times of %d, want some", v.name, succeeded, len(room(4)))
				}
			}
		})
	}
}

// readOnly is what the first to write is told where there was no room for what an
// overlay makes in its work directory: the kernel mounts it, read-only.
const readOnly = "read-only file system"

// TestNoSpaceForImages: the same of where containers made from images are.
func TestNoSpaceForImages(t *testing.T) {
	needRoot(t)
	programsTar = imageTar(t)
	for _, m := range []maker{makers[0], makers[2]} {
		t.Run(m.name, func(t *testing.T) {
			f := bareField(t, m)
			openUp(t, filepath.Dir(programsTar))
			f.must("import " + programsTar + " box")
			must(t, os.Mkdir(f.dir+"/store/containers", 0o700))
			must(t, os.Chown(f.dir+"/store/containers", m.uid, m.uid))
			containers := mountTmpfs(t, f.dir+"/store/containers", m.uid)
			f.must("run --name first box true")
			f.must("rm first") // and all directories are there
			f.base = f.fingerprint()
			for _, words := range []string{"run --rm --name victim box true", "run --name victim box true", "run -d --name victim box sleep 1000"} {
				succeeded := 0
				for _, r := range room(12) {
					containers.leave(r[0], r[1])
					out, err := f.do(words)
					what := fmt.Sprintf("%s with room for %d pages and %d files", words, r[0], r[1])
					if err == nil {
						succeeded++
					} else if !oneError.MatchString(out) || !strings.Contains(out, "no space left on device") && !strings.Contains(out, readOnly) {
						t.Errorf("%s: %v, %q; want one line with ENOSPC", what, err, out)
					}
					if list := f.must("ps -aq"); err != nil && list != "" {
						t.Errorf("%s failed with %q, and it is half made: %s", what, out, f.must("ps -a"))
					}
					f.must("rm -f victim")
					if changed := f.settled(); changed != "" {
						t.Fatalf("%s: %q, and there is left:\n%s", what, out, changed)
					}
					containers.leave(enough, enough)
				}
				if succeeded == 0 || succeeded == len(room(12)) {
					t.Errorf("%s succeeded %d times of %d, want some", words, succeeded, len(room(12)))
				}
			}
		})
	}
}

// TestReadOnly: the directory of states has become read-only. What is there can
// be looked at and entered; what would change it says why it does not.
func TestReadOnly(t *testing.T) {
	needRoot(t)
	programsTar = imageTar(t)
	f := bareField(t, makers[0])
	mountTmpfs(t, f.dir+"/root", 0)
	f.keep()
	for _, v := range verbs {
		if v.groups {
			continue // they write to cgroups only
		}
		f.ready(v)
		must(t, unix.Mount("", f.dir+"/root", "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		out, err := f.do(v.args)
		must(t, unix.Mount("", f.dir+"/root", "", unix.MS_REMOUNT, ""))
		if err != nil && !strings.Contains(out, readOnly) || (err == nil) != (v.looks || strings.HasPrefix(v.name, "exec") || v.name == "kill") {
			t.Errorf("%s where states are read-only: %v, %q", v.name, err, out)
		}
		f.after(v.name, out, err != nil, false, v)
	}
}

// TestFewDescriptors: from about as many as a Go program needs for itself, up to
// where it works.
func TestFewDescriptors(t *testing.T) {
	needRoot(t)
	programsTar = imageTar(t)
	for _, m := range makers {
		t.Run(m.name, func(t *testing.T) {
			f := newField(t, m)
			first, step := fewestDescriptors-1, 16
			if *everyFault {
				first, step = 8, 1
			}
			for _, v := range verbs {
				if v.groups && m.uid != 0 {
					continue
				}
				for n, worked := first, 0; worked < 2; n += step {
					f.ready(v)
					cmd := f.command(v.args)
					cmd.Args = append([]string{"prlimit", "--nofile=" + strconv.Itoa(n) + ":" + strconv.Itoa(n)}, cmd.Args...)
					cmd.Args[2] = cmd.Path
					cmd.Path, _ = exec.LookPath("prlimit")
					var err error
					out := f.printed(cmd, func() { err = cmd.Run() })
					what := fmt.Sprintf("%s with %d descriptors", v.name, n)
					if err == nil {
						worked++
					} else if n > enough || !strings.Contains(out, "too many open files") && n >= fewestDescriptors {
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
	must(t, err)
	defer full.Close()
	commands := []string{"--help", "--version", "run --help", "images", "doctor", "features", "ps"}
	if os.Geteuid() == 0 {
		importPrograms(t)
		must(t, exec.Command("minirun", "run", "-d", "--name", "seen", "box", "sleep", "100").Run())
		defer exec.Command("minirun", "rm", "-f", "seen", "printed").Run()
		commands = append(commands, "ps --format json", "ps -q", "images -q", "tree", "threads", "ns", "inspect seen", "list", "list -q", "state seen", "ps seen", "plan box", "run -d --name printed box true")
	}
	for _, words := range commands {
		cmd := exec.Command("minirun", strings.Fields(words)...)
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = full, &stderr
		if cmd.Run() == nil || strings.Count(stderr.String(), "standard output: write /dev/stdout: no space left on device\n") != 1 {
			t.Errorf("%s > /dev/full: %v, %q; want one line about standard output", words, cmd.ProcessState, stderr.String())
		}
	}
}
