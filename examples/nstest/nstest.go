// Package nstest is what the tests of package namespaces and of those below it
// share: they make real namespaces and look at them from inside, with a shell.
package nstest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"minirun/plan"
	"minirun/plan/print"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// NeedRoot skips a test that an ordinary user cannot run.
func NeedRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("no root: run as root to make namespaces without a user namespace")
	}
}

// Made are namespaces of a spec that are new.
func Made(kinds ...specs.LinuxNamespaceType) []specs.LinuxNamespace {
	var list []specs.LinuxNamespace
	for _, k := range kinds {
		list = append(list, specs.LinuxNamespace{Type: k})
	}
	return list
}

// MapTo is an id map from 0 on.
func MapTo(host, size uint32) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{HostID: host, Size: size}}
}

// files are those of /proc/PID/ns, with the spec's words.
var files = []struct {
	file string
	kind specs.LinuxNamespaceType
}{
	{"user", specs.UserNamespace}, {"pid", specs.PIDNamespace}, {"net", specs.NetworkNamespace}, {"ipc", specs.IPCNamespace},
	{"uts", specs.UTSNamespace}, {"cgroup", specs.CgroupNamespace}, {"time", specs.TimeNamespace}, {"mnt", specs.MountNamespace},
}

// All is one namespace of each kind, the user namespace first: new ones, or those
// in a directory such as /proc/42/ns/.
func All(dir string) []specs.LinuxNamespace {
	var list []specs.LinuxNamespace
	for _, f := range files {
		n := specs.LinuxNamespace{Type: f.kind}
		if dir != "" {
			n.Path = dir + f.file
		}
		list = append(list, n)
	}
	return list
}

// Links is a script that prints the namespaces of its shell.
const Links = `for n in user pid net ipc uts cgroup time mnt; do readlink /proc/self/ns/$n; done`

// Here are the namespaces of a process, in that order.
func Here(t *testing.T, pid string) []string {
	t.Helper()
	var list []string
	for _, f := range files {
		link, err := os.Readlink("/proc/" + pid + "/ns/" + f.file)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, link)
	}
	return list
}

// Differs compares two lists of links and names the kinds that differ.
func Differs(a, b []string) string {
	var list []string
	for i, f := range files {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			list = append(list, f.file)
		}
	}
	return strings.Join(list, " ")
}

// Output ends a plan with a script, starts it, and returns what the script
// printed. given may be nil.
func Output(t *testing.T, p *plan.Plan, script string, given map[plan.Inherited]int, start func(plan.Options) (*plan.Process, error)) string {
	t.Helper()
	p.Dup3(plan.Inherited("output"), 1, 0)
	p.Dup3(plan.Inherited("output"), 2, 0)
	p.Ready()
	p.RtSigprocmask()
	p.Execve("/bin/sh", []string{"sh", "-c", script}, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if given == nil {
		given = map[plan.Inherited]int{}
	}
	given["output"] = int(w.Fd())
	child, err := start(plan.Options{Inherited: given})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.ReadFrom(r)
	if status, err := child.Wait(); err != nil || status != 0 {
		t.Errorf("%q: status %v, error %v, printed %q", script, status, err, b.String())
	}
	return strings.TrimSpace(b.String())
}

// Hold starts a process with unshare(1) and returns its id; it is ended with the test.
func Hold(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("unshare", append(args, "sh", "-c", "echo; exec sleep 60")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: install the package util-linux", err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("unshare %q: %v: %s", args, err, stderr.String())
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	if inner, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children"); err == nil && len(inner) > 0 {
		pid = strings.TrimSpace(string(inner)) // unshare --fork waits for its child
	}
	return pid
}

// Golden compares a printed plan with testdata/NAME.txt, or writes that file.
func Golden(t *testing.T, name string, p *plan.Plan, update bool) {
	t.Helper()
	var got bytes.Buffer
	if err := print.Text(&got, p, print.Options{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".txt")
	if update {
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("%s = \n%s\nwant\n%s", name, got.String(), want)
	}
}

// AsUser runs tests of this package again, as user 1000: those that match a
// pattern. None of them may be skipped.
func AsUser(t *testing.T, pattern string) {
	t.Helper()
	NeedRoot(t)
	binary := filepath.Join("/tmp", "namespaces-"+strconv.Itoa(os.Getpid())+".test")
	data, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(binary, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(binary)
	cmd := exec.Command(binary, "-test.run="+pattern, "-test.v")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("SKIP")) || bytes.Contains(out, []byte("no tests to run")) {
		t.Errorf("as user 1000: %v\n%s", err, out)
	}
}
