package attacks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"minirun/container/example"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A result is what a command did.
type result struct {
	out, err string // without the last line's end
	code     int
}

func (r result) String() string { return fmt.Sprintf("exit code %d, %q, %q", r.code, r.out, r.err) }

// command is a call of minirunc, as an engine makes it, or of minirun, as a user
// does.
func command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	return cmd
}

// finish runs it. What outlives it writes to files, so that we need not wait.
func finish(t testing.TB, cmd *exec.Cmd) result {
	t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(work, "output")
		must(t, err)
		defer os.Remove(f.Name())
		defer f.Close()
		files[i] = f
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	must(t, cmd.Start())
	timer := time.AfterFunc(60*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	out, err := os.ReadFile(files[0].Name())
	must(t, err)
	text, err := os.ReadFile(files[1].Name())
	must(t, err)
	return result{strings.TrimSpace(string(out)), strings.TrimSpace(string(text)), cmd.ProcessState.ExitCode()}
}

func minirun(t testing.TB, args ...string) result {
	t.Helper()
	return finish(t, command(people, args...))
}

func minirunc(t testing.TB, args ...string) result {
	t.Helper()
	return finish(t, command(runner, args...))
}

// A box is a bundle, and the container made from it.
type box struct {
	*specs.Spec
	t    testing.TB
	dir  string
	id   string
	root string // its root directory, as the host sees it
}

// newBox makes a bundle with the spec that `minirunc spec` writes, without a
// terminal and with a root directory that can be written to, whose program is
// the probe.
func newBox(t testing.TB, args ...string) *box {
	t.Helper()
	dir, err := os.MkdirTemp(work, "bundle")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	b := &box{Spec: example.Spec(false), t: t, dir: dir, id: filepath.Base(dir), root: filepath.Join(dir, "rootfs")}
	t.Cleanup(func() {
		minirunc(t, "delete", "--force", b.id) // there may be none
		must(t, os.RemoveAll(dir))
	})
	for _, d := range []string{"proc", "sys", "dev", "tmp", "etc"} {
		must(t, os.MkdirAll(b.rootfs(d), 0o755))
	}
	must(t, copyFile(prober, b.rootfs("probe")))
	b.Root.Readonly, b.Process.Terminal = false, false
	b.Process.Args = append([]string{"/probe"}, args...)
	return b
}

// rootfs is a path in the container's root directory, as the host sees it.
func (b *box) rootfs(path string) string { return filepath.Join(b.root, path) }

// newGuest runs a container of an image, named as the test is. It has no bundle of ours: what
// looks up a user's name in a container is minirun.
func newGuest(t testing.TB, name string) *box {
	t.Helper()
	if r := importImage(t, name, nil); r.code != 0 {
		t.Fatalf("import: %v", r)
	}
	t.Cleanup(func() { minirun(t, "rmi", name) })
	r := minirun(t, "run", "-d", "--name", name, name, "/probe", "sleep")
	t.Cleanup(func() { minirun(t, "rm", "-f", name) })
	if r.code != 0 {
		t.Fatalf("run: %v", r)
	}
	pid := minirun(t, "inspect", "-f", "{{.State.Pid}}", name)
	return &box{t: t, id: name, root: "/proc/" + pid.out + "/root"}
}

// execAs runs the probe in a guest as a user, who may have a name.
func (b *box) execAs(user string, args ...string) result {
	b.t.Helper()
	return minirun(b.t, append([]string{"exec", "--user", user, b.id, "/probe"}, args...)...)
}

// file makes a file in the container's root directory.
func (b *box) file(path, text string) {
	b.t.Helper()
	must(b.t, os.MkdirAll(filepath.Dir(b.rootfs(path)), 0o755))
	must(b.t, os.WriteFile(b.rootfs(path), []byte(text), 0o644))
}

// link makes a link there, also in place of a directory.
func (b *box) link(path, target string) {
	b.t.Helper()
	must(b.t, os.MkdirAll(filepath.Dir(b.rootfs(path)), 0o755))
	must(b.t, os.RemoveAll(b.rootfs(path)))
	must(b.t, os.Symlink(target, b.rootfs(path)))
}

// save writes the config.json, with words replaced: what no spec can hold.
func (b *box) save(replaced ...string) {
	b.t.Helper()
	data, err := json.Marshal(b.Spec)
	must(b.t, err)
	text := strings.NewReplacer(replaced...).Replace(string(data))
	must(b.t, os.WriteFile(filepath.Join(b.dir, "config.json"), []byte(text), 0o644))
}

// run runs the container to its end.
func (b *box) run(flags ...string) result {
	b.t.Helper()
	b.save()
	return minirunc(b.t, append(append([]string{"run", "--bundle", b.dir}, flags...), b.id)...)
}

// prints runs the container and compares what it prints.
func (b *box) prints(want string) {
	b.t.Helper()
	if r := b.run(); r.code != 0 || r.out != want {
		b.t.Errorf("%q: %v; want %q", b.Process.Args[1:], r, want)
	}
}

// refused runs the container, which must not come to be, with an error of one
// line, without control characters, that has a word in it.
func (b *box) refused(word string) {
	b.t.Helper()
	r := b.run()
	if r.code == 0 || r.out != "" || !strings.HasPrefix(r.err, "minirunc: ") || !strings.Contains(r.err, word) {
		b.t.Errorf("run = %v; want an error with %q", r, word)
	}
	oneLine(b.t, r.err)
}

// oneLine fails if an error could play with the terminal that it is printed to.
func oneLine(t testing.TB, text string) {
	t.Helper()
	text, _, _ = strings.Cut(text, "\nhint: ")
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }); i >= 0 {
		t.Errorf("the error has a control character: %q", text)
	}
}

// start makes and starts the container, and leaves it running.
func (b *box) start() {
	b.t.Helper()
	b.save()
	for _, args := range [][]string{{"create", "--bundle", b.dir, b.id}, {"start", b.id}} {
		if r := minirunc(b.t, args...); r.code != 0 {
			b.t.Fatalf("%s: %v", args[0], r)
		}
	}
}

// exec runs the probe once more in the running container.
func (b *box) exec(flags []string, args ...string) result {
	b.t.Helper()
	words := append(append([]string{"exec"}, flags...), b.id)
	return minirunc(b.t, append(append(words, "/probe"), args...)...)
}

// execProcess does so with a process.json.
func (b *box) execProcess(change func(*specs.Process)) result {
	b.t.Helper()
	var p specs.Process
	data, err := json.Marshal(b.Process)
	must(b.t, err)
	must(b.t, json.Unmarshal(data, &p))
	change(&p)
	data, err = json.Marshal(p)
	must(b.t, err)
	path := filepath.Join(b.dir, "process.json")
	must(b.t, os.WriteFile(path, data, 0o644))
	return minirunc(b.t, "exec", "--process", path, b.id)
}

// eventually waits until a file of the container's holds a word.
func (b *box) eventually(path, word string) {
	b.t.Helper()
	var data []byte
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if data, _ = os.ReadFile(b.rootfs(path)); bytes.Contains(data, []byte(word)) {
			return
		}
	}
	b.t.Fatalf("%s holds %q, want %q", path, data, word)
}

// openDir is a directory for the time of the test that all may enter.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(work, "open")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

// credential is that of a caller, with supplementary groups.
func credential(id uint32, groups ...uint32) *syscall.Credential {
	return &syscall.Credential{Uid: id, Gid: id, Groups: groups}
}
