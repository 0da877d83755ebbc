package main

import (
	"cmp"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"minirun/cmd/testbed"
	"minirun/rootfs/image"
)

// allHints are those of the tables, and the help of each command; each with a command
// that shows its effect.
func allHints() map[string]string {
	all := map[string]string{removesContainer: "! minirun ps -aq | grep .", removesImage: "! minirun images | grep box", listCommands: "true"}
	for _, e := range afterErrors {
		all[e.hint] = "true"
	}
	for _, c := range commands() {
		all[helpOf(c.Name)] = "true"
	}
	for _, list := range append(slices.Collect(maps.Values(insteadOfFlags)), insteadOfCommands) {
		for _, a := range list {
			all[notDone{}.with(a.hint)] = cmp.Or(effects[a.of], "true")
		}
	}
	return all
}

var quoted = regexp.MustCompile("`([^`]+)`")

// effects are commands that succeed after those of a hint, if these did what they should.
var effects = map[string]string{
	"commit":                        "minirun run --rm another cat /FILE | grep text",
	"container prune, system prune": "[ -z \"$(minirun ps -aq -f status=exited)\" ]",
	"cp":                            "minirun exec CONTAINER cat /FILE | grep text",
	"diff":                          "find $(minirun inspect -f '{{.GraphDriver.Data.UpperDir}}' CONTAINER) | grep '/FILE$'",
	"export":                        "tar -xOf FILE ./FILE | grep text && ! tar -tf FILE | grep proc/1",
	"image":                         "! minirun images | grep '<none>' && minirun images | grep box",
	"search":                        "minirun images | grep box",
	"save":                          "minirun load -i FILE | grep box",
	"rename":                        "minirun ps -aq -f name=another | grep .",
	"--cidfile":                     "[ $(wc -c <FILE) = 65 ]",
	"--expose, --link, --ip, --ip6, --mac-address, --network-alias": "minirun ps -a | grep -c box | grep 2",
}

// TestHints: every command of every hint does what it is advised for, or at least ends
// without an error, in a directory with a FILE and a DIR, for a CONTAINER that runs or,
// where the hint says so, is stopped.
func TestHints(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.ImportPrograms(t)
	t.Cleanup(func() { testbed.NothingLeft(t) })
	archive := fakeDocker(t)
	t.Setenv("XDG_CONFIG_HOME", fakeRegistry(t, "/var/lib/minirun"))
	done := map[string]bool{}
	for h, effect := range allHints() {
		var commands []string
		for _, m := range quoted.FindAllStringSubmatch(h, -1) {
			commands = append(commands, strings.NewReplacer("IMAGE", "box", "NAME=VALUE", "A=1", "NAME", "another", "COMMAND", "true").Replace(m[1]))
		}
		if key := strings.Join(commands, "\n"); done[key] {
			continue
		} else {
			done[key] = true
		}
		dir := hintDirectory(t)
		if strings.Contains(h, "stopped") {
			must(t, dir, "minirun run --name CONTAINER box true")
		} else {
			must(t, dir, "minirun run -d --name CONTAINER box sleep 1000 && minirun exec CONTAINER write /FILE text")
		}
		if strings.Contains(h, "xargs") || strings.Contains(h, "prune") { // it removes what is of no use
			must(t, dir, "minirun run --name ended box true && minirun import FILE")
		}
		if strings.Contains(h, "logs -f") { // it goes on until the container has ended
			time.AfterFunc(200*time.Millisecond, func() { exec.Command("minirun", "kill", "-s", "KILL", "CONTAINER").Run() })
		}
		for _, command := range commands {
			if strings.HasPrefix(command, "mount ") {
				command = "umount /sys/fs/cgroup && " + command // there is one already
			}
			must(t, dir, command)
		}
		must(t, dir, effect)
		must(t, dir, "minirun ps -aq | xargs -r minirun rm -f")
		if strings.Contains(h, "rmi") || strings.Contains(h, "images") || strings.Contains(h, "load") {
			must(t, dir, "minirun images -q box | grep -q . || minirun load -i "+archive)
		}
	}
	must(t, t.TempDir(), "minirun images -q | xargs minirun rmi -f")
}

// must runs a command of a hint: in a mount namespace of its own, as one hint mounts.
func must(t *testing.T, dir, command string) {
	t.Helper()
	cmd := exec.Command("timeout", "20", "unshare", "--mount", "sh", "-c", command)
	cmd.Dir = dir
	out, err := os.CreateTemp(t.TempDir(), "out") // a container would keep a pipe open
	testbed.Must(t, err)
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		t.Errorf("%s: %v\n%s", command, err, text)
	}
}

// hintDirectory has what hints name: FILE, a tar, DIR, and minirun's examples.
func hintDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	examples, err := filepath.Abs("../../examples")
	testbed.Must(t, err)
	testbed.Must(t, os.Symlink(examples, filepath.Join(dir, "examples")))
	must(t, dir, "mkdir DIR && tar -cf FILE DIR")
	return dir
}

// fakeRegistry serves the only image of a store, as docker.io, and returns a directory of
// settings that say so. It has a copy, because some hints remove images.
func fakeRegistry(t *testing.T, store string) (settings string) {
	t.Helper()
	var index image.Index
	text, err := os.ReadFile(store + "/index.json")
	testbed.Must(t, err)
	testbed.Must(t, json.Unmarshal(text, &index))
	blobs := t.TempDir()
	must(t, blobs, "cp -r "+store+"/blobs/sha256 .")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch name := path.Base(r.URL.Path); name {
		case "v2": // no login is needed
		case "latest":
			http.ServeFile(w, r, filepath.Join(blobs, "sha256", index.Manifests[0].Digest.Hex()))
		default:
			http.ServeFile(w, r, filepath.Join(blobs, "sha256", strings.TrimPrefix(name, "sha256:")))
		}
	}))
	t.Cleanup(server.Close)
	settings = t.TempDir()
	host := strings.TrimPrefix(server.URL, "http://")
	testbed.Must(t, os.Mkdir(filepath.Join(settings, "minirun"), 0o755))
	testbed.Must(t, os.WriteFile(filepath.Join(settings, "minirun/registries"), []byte("mirror docker.io "+host+"\nallow "+host+"\ninsecure "+host+"\n"), 0o644))
	return settings
}

// fakeDocker puts a docker into PATH that saves what is in the store, and does nothing
// else. It returns the archive that it saves.
func fakeDocker(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	archive := filepath.Join(bin, "archive")
	must(t, bin, strings.ReplaceAll(quoted.FindStringSubmatch(notDone{}.with(adviceOn(insteadOfCommands, "save")))[1], "FILE", archive))
	testbed.Must(t, os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\n[ \"$1\" != save ] || cat "+archive+"\n"), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return archive
}

// TestMessages: no text outside of hints.go and of the help names a command of minirun's:
// TestHints would not run it.
func TestMessages(t *testing.T) {
	for _, dir := range []string{".", "../report", "../../container/bundle", "../../rootfs/image"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		testbed.Must(t, err)
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") || filepath.Base(path) == "hints.go" || filepath.Base(path) == "help.go" {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			testbed.Must(t, err)
			for _, text := range messages(file) {
				if names := regexp.MustCompile("minirunc? (-|[a-z]+ -|" + strings.Join(commandNames(), "|") + ")").FindString(text); names != "" {
					t.Errorf("%s: %s names a command", path, text)
				}
			}
		}
	}
}

func commandNames() (names []string) {
	for _, c := range commands() {
		names = append(names, c.Name+`\b`)
	}
	return names
}

// messages are the strings of a file, but for those that --help prints, the usage of a
// flag among them.
func messages(file *ast.File) (list []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		if field, ok := n.(*ast.KeyValueExpr); ok {
			if name, ok := field.Key.(*ast.Ident); ok && (name.Name == "Description" || name.Name == "Usage") {
				return false
			}
		}
		if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING {
			list = append(list, s.Value)
		}
		return true
	})
	return list
}
