package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"minirun/cmd/testbed"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// hostile is what a terminal would obey: it sets a title, clears the screen (the short
// form of ESC [, too), turns the direction of reading round, and begins a line of its own.
const hostile = "h\x1b]0;title\a\x1b[2J\u009b2J\u202e\x7f\r\U000e0041\nFORGED\tLINE"

// hostileLine has no line feed: the name of a cgroup cannot have one.
var hostileLine = strings.ReplaceAll(hostile, "\n", "")

// TestHostile: every command of both programs, where every name, path and argument is
// hostile, prints only what is printable, and begins no line with it.
func TestHostile(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	dir := hostileBundle(t)
	quiet := func(words ...string) {
		t.Helper()
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v, %s", words, err, out)
		}
	}
	text, err := json.Marshal([]string{"sleep", "100000", hostile})
	testbed.Must(t, err)
	quiet("minirun", "import", "--change", "CMD "+string(text), "--change", `LABEL x="`+hostileLine+`"`, "--change", `ENV x="`+hostileLine+`"`,
		"--change", "WORKDIR /"+hostileLine, testbed.Programs, "evil")
	later := func(words ...string) { t.Cleanup(func() { quiet(words...) }) }
	later("minirun", "rmi", "evil")
	testbed.Must(t, exec.Command("minirunc", "run", "-d", "-b", dir, "bundled").Run()) // its output would be the program's
	later("minirun", "rm", "-f", "bundled")
	testbed.Must(t, exec.Command("minirun", "run", "-d", "--name", "named", "evil").Run())
	later("minirun", "rm", "-f", "named")
	testbed.Must(t, exec.Command("minirun", "run", "--name", "ended", "evil", "true").Run())
	later("minirun", "rm", "-f", "ended")
	poisonFiles(t)
	stray := "/var/lib/minirun/containers/" + hostile + "\xff"
	testbed.Must(t, os.Mkdir(stray, 0o700))
	defer os.Remove(stray)

	for _, words := range hostileCommands(dir) {
		out, _ := exec.Command(words[0], words[1:]...).CombinedOutput()
		checkHarmless(t, words, string(out))
	}
}

// hostileBundle is a bundle with a hostile path, and hostile strings in it.
func hostileBundle(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), hostile)
	testbed.Must(t, testbed.WriteBundle(dir, []string{"sleep", "100000", hostile}))
	path := filepath.Join(dir, "config.json")
	text, err := os.ReadFile(path)
	testbed.Must(t, err)
	var spec specs.Spec
	testbed.Must(t, json.Unmarshal(text, &spec))
	spec.Annotations = map[string]string{hostile: hostile, "org.systemd.property.x": "'" + hostile + "'"}
	spec.Process.Env = append(spec.Process.Env, "X="+hostile)
	spec.Linux.CgroupsPath = "/minirun-" + hostileLine
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/dev/" + hostile, Type: "tmpfs", Source: hostile})
	text, err = json.Marshal(spec)
	testbed.Must(t, err)
	testbed.Must(t, os.WriteFile(path, text, 0o600))
	return dir
}

// poisonFiles makes the strings of all states and bundles hostile, as if somebody had
// edited them, except those by which the containers are found.
func poisonFiles(t *testing.T) {
	t.Helper()
	kept := map[string]bool{"id": true, "cgroup": true, "mark": true, "boot": true, "created": true, "started": true, "ociVersion": true, "type": true, "org.minirun.created": true, "namespaces": true,
		"options": true, "linux": true}
	var poison func(v any) any
	poison = func(v any) any {
		switch v := v.(type) {
		case string:
			return v + hostile
		case []any:
			for i := range v {
				v[i] = poison(v[i])
			}
		case map[string]any:
			for key := range v {
				if !kept[key] {
					v[key] = poison(v[key])
				}
			}
		}
		return v
	}
	states, err := filepath.Glob("/run/minirun/*/state.json")
	testbed.Must(t, err)
	bundles, err := filepath.Glob("/var/lib/minirun/containers/*/config.json")
	testbed.Must(t, err)
	if len(states) < 3 || len(bundles) < 2 {
		t.Fatalf("states %q, bundles %q: want more", states, bundles)
	}
	for _, path := range append(states, bundles...) {
		before, err := os.ReadFile(path)
		testbed.Must(t, err)
		var v any
		testbed.Must(t, json.Unmarshal(before, &v))
		after, err := json.Marshal(poison(v))
		testbed.Must(t, err)
		testbed.Must(t, os.WriteFile(path, after, 0o600))
		t.Cleanup(func() { os.WriteFile(path, before, 0o600) }) // ENOENT: its container has been removed
	}
}

// hostileCommands are those that look at the containers and images, and all commands
// with hostile arguments.
func hostileCommands(dir string) (list [][]string) {
	template := "{{.ID}} {{.Names}} {{.Image}} {{.Command}} {{.Cgroup}} {{.Ports}} {{.Status}}"
	for _, words := range []string{
		"minirun ps -a", "minirun ps -a --wide", "minirun ps -a --no-trunc", "minirun ps -aq", "minirun ps -a --format json", "minirun ps bundled", "minirun ps bundled -o pid,args",
		"minirun tree", "minirun tree -o json", "minirun threads", "minirun threads -o json", "minirun ns", "minirun ns -o json",
		"minirun inspect bundled", "minirun inspect named", "minirun inspect ended", "minirun inspect evil", "minirun inspect -f json named", "minirun inspect -f {{.Bundle}}{{.Cgroup}} bundled",
		"minirun images", "minirun images --format json", "minirun plan evil", "minirun plan -o json evil", "minirun plan -d evil", "minirun doctor",
		"minirun rm --generate-bash-completion", "minirun rmi --generate-bash-completion",
		"minirunc list", "minirunc list -q", "minirunc list -f json", "minirunc state bundled", "minirunc ps bundled", "minirunc ps -f json bundled", "minirunc events --stats bundled",
		"minirunc plan -b BUNDLE", "minirunc plan -o json -b BUNDLE", "minirunc plan --source -b BUNDLE", "minirunc create -b BUNDLE bundled", "minirunc create --explain --fault pivot_root=EIO -b BUNDLE bundled3", "minirunc run -b BUNDLE/no bundled2",
	} {
		fields := strings.Fields(words)
		for i := range fields {
			fields[i] = strings.ReplaceAll(fields[i], "BUNDLE", dir)
		}
		list = append(list, fields)
	}
	list = append(list, []string{"minirun", "ps", "-a", "--format", template}, []string{"minirun", "ps", "-a", "--format", "table " + template})
	for _, c := range commands() {
		list = append(list, []string{"minirun", c.Name, hostile}, []string{"minirun", c.Name, "--" + hostile}, []string{"minirun", c.Name, "--format", hostileLine}, []string{"minirun", c.Name, "named", hostile})
	}
	for _, name := range []string{"create", "start", "exec", "state", "kill", "delete", "list", "ps", "pause", "resume", "update", "events", "spec", "plan", hostile} {
		list = append(list, []string{"minirunc", name, hostile}, []string{"minirunc", name, "--" + hostile}, []string{"minirunc", "--root", "/" + hostile, name, "x"}, []string{"minirunc", name, "bundled", hostile})
	}
	return append(list, []string{"minirun", hostile}, []string{"minirunc", "--" + hostile})
}

func checkHarmless(t *testing.T, words []string, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "FORGED") {
			t.Errorf("%q prints a line of an attacker's: %q", words, line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool {
			return r == unicode.ReplacementChar || !unicode.IsPrint(r) && r != '\n' && r != '\t'
		}); i >= 0 {
			t.Errorf("%q prints %q", words, line[max(0, i-20):min(len(line), i+20)])
			return
		}
	}
}
