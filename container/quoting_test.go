package container_test

import (
	"minirun/plan/print"

	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"minirun/container"
	"minirun/container/config"
)

// TestHostileWords: whatever words a configuration has, they are words in the
// printed plan, too: no command of the script that it can be, and nothing that
// a terminal would obey.
func TestHostileWords(t *testing.T) {
	const hostile = "/x\n>PWNED; #'\nEND_OF_CHILD\nEND_OF_MONITOR\n>PWNED\n`>PWNED`$(>PWNED);>PWNED \"\\\x1b[31m"
	spec, _, err := config.Read("testdata/docker")
	if err != nil {
		t.Fatal(err)
	}
	spec.Root.Path, spec.Process.Cwd, spec.Hostname = hostile, hostile, hostile[:40]
	spec.Process.Args, spec.Process.Env = []string{hostile, hostile}, []string{"A=" + hostile}
	spec.Mounts = append(spec.Mounts,
		specs.Mount{Destination: hostile, Source: hostile, Type: "bind"},
		specs.Mount{Destination: hostile, Source: hostile, Type: "tmpfs", Options: []string{hostile, "size=" + hostile}})
	spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = []string{hostile, "/proc" + hostile}, []string{hostile}
	spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev" + hostile, Type: "c", Major: 1, Minor: 3}}
	spec.Linux.CgroupsPath, spec.Linux.Resources = hostile, &specs.LinuxResources{Unified: map[string]string{"memory.max": "1\n>PWNED;'>PWNED"}}
	spec.Linux.IntelRdt = &specs.LinuxIntelRdt{L3CacheSchema: "';>PWNED;'$(>PWNED)"}
	group := fakeGroups(t)
	if err := os.WriteFile(filepath.Join(group, "cgroup.controllers"), []byte("cpu memory pids\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := container.PlanOn(container.FakeHost{Cgroup2: group, Resctrl: group + "/resctrl"}, "/bundle", spec, container.Options{Monitor: true})
	if err != nil {
		t.Fatal(err)
	}
	var text, script bytes.Buffer
	if err := print.Text(&text, p, print.Options{}); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(text.String(), func(r rune) bool { return r != '\n' && unicode.IsControl(r) }); i >= 0 {
		t.Errorf("the plan has a control character: %q", text.String()[max(0, i-100):i+10])
	}
	if n := strings.Count(text.String(), "\n>PWNED"); n > 0 {
		t.Errorf("words are lines of their own in the plan, %d times", n)
	}
	if err := print.Sh(&script, p); err != nil {
		t.Fatal(err)
	}
	// No command is found, so nothing but a redirection of a word's can make a file. What is within a heredoc is a script as well.
	dir := t.TempDir()
	lines := regexp.MustCompile(`(?m)^(unshare|setsid).* sh -e /dev/fd/3 `).ReplaceAllString(script.String(), "/bin/sh /dev/fd/3 ")
	if strings.Count(lines, "\n/bin/sh /dev/fd/3 ") != 2 {
		t.Errorf("the scripts of monitor and child are not found in:\n%s", lines)
	}
	cmd := exec.Command("/bin/sh")
	cmd.Dir, cmd.Env, cmd.Stdin = dir, []string{"PATH=/nonexistent"}, strings.NewReader(lines)
	out, _ := cmd.CombinedOutput() // 127: not found
	if !strings.Contains(string(out), "not found") {
		t.Errorf("the script did not run: %s", out)
	}
	made, err := os.ReadDir(dir)
	if err != nil || len(made) > 0 {
		t.Errorf("the script made %v: a word was a command\n%s", made, out)
	}
}
