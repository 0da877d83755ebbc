package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"minirun/cmd/testbed"
	"minirun/rootfs/image"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The images of these tests are of kinds that are found in registries, and that other
// engines run.

// A member is one file of a layer: a regular one, if kind is 0.
type member struct {
	name string
	kind byte
	text string // or where a link points
	mode int64  // 0: 0755
}

// layerOf is a layer.
func layerOf(t *testing.T, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Mode: m.mode, Format: tar.FormatPAX}
		switch m.kind {
		case 0:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(m.text))
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = m.text
		}
		if m.mode == 0 {
			h.Mode = 0o755
		}
		testbed.Must(t, w.WriteHeader(h))
		if m.kind == 0 {
			testbed.Must2(w.Write([]byte(m.text)))(t)
		}
	}
	testbed.Must(t, w.Close())
	return b.Bytes()
}

// A testImage has names, a configuration and layers, the lowest first.
type testImage struct {
	names  []string
	config image.RunConfig
	layers [][]byte
}

// saved is an archive as docker save writes it.
func saved(t *testing.T, images ...testImage) []byte {
	t.Helper()
	files := map[string]string{}
	var list []any
	for n, i := range images {
		config := image.Config{Platform: image.Platform{OS: "linux", Architecture: runtime.GOARCH}, Config: i.config, RootFS: image.RootFS{Type: "layers"}}
		paths := []string{}
		for _, layer := range i.layers {
			digest := image.DigestOf(layer)
			config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest)
			paths = append(paths, digest.Hex()+"/layer.tar")
			files[digest.Hex()+"/layer.tar"] = string(layer)
		}
		text, err := json.Marshal(config)
		testbed.Must(t, err)
		files[fmt.Sprint(n, ".json")] = string(text)
		list = append(list, map[string]any{"Config": fmt.Sprint(n, ".json"), "RepoTags": i.names, "Layers": paths})
	}
	text, err := json.Marshal(list)
	testbed.Must(t, err)
	files["manifest.json"] = string(text)
	var members []member
	for name, text := range files {
		members = append(members, member{name: name, text: text})
	}
	return layerOf(t, members...)
}

// A caller runs minirun, with a store and states of the user's own.
type caller struct {
	*testing.T
	uid   int
	store string
	env   []string
}

// eachUser runs a test for root and for an ordinary user.
func eachUser(t *testing.T, run func(u caller)) {
	for name, uid := range map[string]int{"root": 0, "user": 1000} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			testbed.OpenUp(t, dir)
			u := caller{T: t, uid: uid, store: filepath.Join(dir, "XDG_DATA_HOME/minirun"), env: []string{"MINIRUN_NETWORK=none", "HOME=" + dir, "PATH=" + os.Getenv("PATH")}}
			for _, name := range []string{"XDG_RUNTIME_DIR", "XDG_DATA_HOME"} {
				path := filepath.Join(dir, name)
				testbed.Must(t, os.Mkdir(path, 0o700))
				testbed.Must(t, os.Chown(path, uid, uid))
				u.env = append(u.env, name+"="+path)
			}
			if uid == 0 { // the default places are the tests' own
				u.store = "/var/lib/minirun"
				t.Cleanup(func() { testbed.Must(t, os.RemoveAll("/var/lib/minirun")) })
			}
			run(u)
		})
	}
}

// command is minirun with words, for this user.
func (u caller) command(words string) *exec.Cmd {
	args := append([]string{"--reuid", fmt.Sprint(u.uid), "--regid", fmt.Sprint(u.uid), "--clear-groups", "minirun"}, strings.Fields(words)...)
	cmd := exec.Command("setpriv", args...)
	cmd.Env = u.env
	return cmd
}

// minirun returns what minirun prints, with the exit code if that is not 0.
func (u caller) minirun(words string) string {
	u.Helper()
	out, err := u.command(words).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		text += " (" + err.Error() + ")"
	}
	return text
}

// load loads images.
func (u caller) load(images ...testImage) string {
	u.Helper()
	cmd := u.command("load")
	cmd.Stdin = bytes.NewReader(saved(u.T, images...))
	out, err := cmd.Output()
	if err != nil {
		u.Fatalf("load: %v, %s", err, out)
	}
	return string(out)
}

// want compares what commands print.
func (u caller) want(wants map[string]string) {
	u.Helper()
	for words, want := range wants {
		if got := u.minirun(words); got != want {
			u.Errorf("minirun %s: %s; want %s", words, got, want)
		}
	}
}

// ready waits until a container's program has said something.
func (u caller) ready(name string) {
	u.Helper()
	for end := time.Now().Add(10 * time.Second); u.minirun("logs "+name) == ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			u.Fatalf("%s says nothing", name)
		}
	}
}

// base is a layer with programs.
func base(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(testbed.ImageTar(t))
	testbed.Must(t, err)
	return text
}

const passwdLine = "web:x:0:0::/srv/web:/bin/sh\n" // a user's container may have no id but 0

// TestUserOfImage: USER and HOME are looked up in the root directory that the container
// sees.
func TestUserOfImage(t *testing.T) {
	testbed.NeedRoot(t)
	programs := base(t)
	eachUser(t, func(u caller) {
		own := filepath.Join(u.TempDir(), "passwd")
		testbed.Must(t, os.WriteFile(own, []byte("web:x:0:0::/mine:/bin/sh\n"), 0o644))
		testbed.OpenUp(u, filepath.Dir(own))
		cases := map[string]struct {
			user   string
			layers []member // one a layer
			flags  string
			want   string
		}{
			"topmost":         {"web", []member{{name: "etc/passwd", text: "web:x:7:7::/old:/bin/sh\n"}, {name: "etc/passwd", text: passwdLine}}, "", "HOME=/srv/web"},
			"link":            {"web", []member{{name: "sys/users", text: passwdLine}, {name: "etc/passwd", kind: tar.TypeSymlink, text: "../sys/users"}}, "", "HOME=/srv/web"},
			"link-to-below":   {"web", []member{{name: "etc/passwd", kind: tar.TypeSymlink, text: "/new/users"}, {name: "new/users", text: passwdLine}}, "", "HOME=/srv/web"},
			"etc-is-a-link":   {"web", []member{{name: "etc", kind: tar.TypeSymlink, text: "system/etc"}, {name: "system/etc/passwd", text: passwdLine}}, "", "HOME=/srv/web"},
			"etc-is-gone":     {"", []member{{name: ".wh.etc"}}, "", "HOME=/"},
			"etc-is-new":      {"web", []member{{name: "etc/passwd", text: "web:x:7:7::/old:/bin/sh\n"}, {name: ".wh.etc"}}, "", `minirun: user "web": no such user in the image's /etc/passwd (exit status 125)`},
			"opaque":          {"ann", []member{{name: "etc/.wh..wh..opq"}}, "", `minirun: user "ann": no such user in the image's /etc/passwd (exit status 125)`},
			"file-is-gone":    {"0", []member{{name: "etc/.wh.passwd"}}, "", "HOME=/"},
			"etc-is-a-file":   {"0", []member{{name: "etc", text: "x"}}, "", "HOME=/"},
			"volume":          {"web", []member{{name: "etc/passwd", text: passwdLine}}, "-v " + own + ":/etc/passwd", "HOME=/mine"},
			"volume-by-links": {"web", []member{{name: "etc", kind: tar.TypeSymlink, text: "e"}, {name: "e/passwd", text: passwdLine}}, "-v " + own + ":/etc/passwd", "HOME=/mine"},
			"long-line":       {"web", []member{{name: "etc/passwd", text: "all:x:50:50:" + strings.Repeat("x", 70000) + "::\n" + passwdLine}}, "", "HOME=/srv/web"},
			"long-group":      {"web", []member{{name: "etc/passwd", text: passwdLine}, {name: "etc/group", text: "all:x:50:" + strings.Repeat("user,", 20000) + "\n"}}, "", "HOME=/srv/web"},
			"endless-number":  {"0:0", []member{{name: "etc/passwd", text: strings.Repeat("\n", 5<<20)}}, "", "HOME=/"},
		}
		var images []testImage
		for name, c := range cases {
			i := testImage{[]string{name}, image.RunConfig{User: c.user, Cmd: []string{"env"}, Env: []string{"PATH=/bin"}}, [][]byte{programs}}
			for _, m := range c.layers {
				i.layers = append(i.layers, layerOf(t, m))
			}
			images = append(images, i)
		}
		u.load(images...)
		for name, c := range cases {
			got := u.minirun("run --rm " + c.flags + " " + name)
			if i := strings.Index(got, "HOME="); i >= 0 {
				got, _, _ = strings.Cut(got[i:], "\n")
			}
			if got != c.want {
				u.Errorf("%s: %s; want %s", name, got, c.want)
			}
		}
	})
}

// TestEtc: the files that every container gets are where the image's /etc is, and leave
// that as it is otherwise.
func TestEtc(t *testing.T) {
	testbed.NeedRoot(t)
	programs := base(t)
	eachUser(t, func(u caller) {
		for _, members := range [][]member{
			{{name: "etc", kind: tar.TypeSymlink, text: "/system/etc"}, {name: "system/etc", kind: tar.TypeDir, mode: 0o750}, {name: "system/etc/other", text: "kept\n"}},
			{{name: "etc", kind: tar.TypeDir, mode: 0o750}, {name: "etc/other", text: "kept\n"}},
		} {
			u.load(testImage{[]string{"case"}, image.RunConfig{Env: []string{"PATH=/bin"}}, [][]byte{programs, layerOf(t, members...)}})
			u.want(map[string]string{
				"run --rm -h here case cat /etc/hostname": "here",
				"run --rm case cat /etc/other":            "kept",
				"run --rm case mode /etc":                 "drwxr-x---",
			})
		}
	})
}

// running is the configuration of an image that runs words.
func running(words ...string) image.RunConfig {
	return image.RunConfig{Cmd: words, Env: []string{"PATH=/bin"}}
}

// TestLayersOfImage: as many as an image may have, the same one twice, and none.
func TestLayersOfImage(t *testing.T) {
	testbed.NeedRoot(t)
	programs := base(t)
	eachUser(t, func(u caller) {
		var images []testImage
		want := map[string]string{}
		for _, n := range []int{40, 41, 55, 127, 490} {
			i := testImage{[]string{fmt.Sprint("many:", n)}, running("ls", "/many"), [][]byte{programs}}
			var names []string
			for at := range n - 1 {
				name := fmt.Sprintf("%03d", at)
				i.layers = append(i.layers, layerOf(t, member{name: "many/" + name}))
				names = append(names, name)
			}
			images = append(images, i)
			want["run --rm "+i.names[0]] = strings.Join(names, " ")
		}
		empty, a := layerOf(t), layerOf(t, member{name: "tmp/a", text: "1\n"})
		b, gone := layerOf(t, member{name: "tmp/a", text: "2\n"}), layerOf(t, member{name: "tmp/.wh.a"})
		for name, layers := range map[string][][]byte{"twice": {programs, empty, a, empty}, "again": {programs, a, b, a}, "back": {programs, a, gone, a}} {
			images = append(images, testImage{[]string{name}, running("cat", "/tmp/a"), layers})
			want["run --rm "+name] = "1"
		}
		images = append(images, testImage{[]string{"none"}, running("/host/bin/echo", "hello"), nil})
		u.load(images...)
		host := u.TempDir()
		testbed.OpenUp(u, host)
		if out, err := exec.Command("tar", "-xf", testbed.ImageTar(u.T), "-C", host).CombinedOutput(); err != nil {
			u.Fatalf("tar: %v, %s", err, out)
		}
		want["run --rm -v "+host+":/host none"] = "hello"
		want["run --rm none"] = `minirun: exec: "/host/bin/echo": no such file or directory (exit status 127)`
		u.want(want)
		// Layers with short names are in use, too.
		top := layerOf(t, member{name: "top"})
		u.load(testImage{[]string{"used"}, running("true"), append(slices.Clone(images[2].layers), top)})
		u.want(map[string]string{"run --name user used": ""})
		u.want(map[string]string{"rmi --force used": "used"})
		if _, err := os.Stat(filepath.Join(u.store, "layers", image.DigestOf(top).Hex())); err != nil {
			u.Errorf("a layer in use is removed: %v", err)
		}
		u.want(map[string]string{"rm user": "user"})
	})
}

// TestLayersOfBundle: mount(2) cuts its options at a page, and would show fewer layers.
func TestLayersOfBundle(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	oneByOne, err := testbed.KernelSince("linux6.5")
	testbed.Must(t, err)
	dir := t.TempDir()
	for _, at := range []string{"/", "/data"} {
		bundleDir := filepath.Join(dir, fmt.Sprint("bundle", len(at)))
		testbed.Must(t, testbed.WriteBundle(bundleDir, []string{"ls", filepath.Join(at, "many")}))
		options := []string{"upperdir=" + filepath.Join(bundleDir, "upper"), "workdir=" + filepath.Join(bundleDir, "work")}
		lower := []string{filepath.Join(bundleDir, "rootfs")}
		for i := range 41 {
			lower = append(lower, filepath.Join(dir, fmt.Sprint(i%7), strings.Repeat("x", 100), fmt.Sprintf("%03d", i)))
			testbed.Must(t, os.MkdirAll(filepath.Join(lower[i+1], "many", fmt.Sprintf("%03d", i)), 0o755))
		}
		for _, o := range options {
			_, path, _ := strings.Cut(o, "=")
			testbed.Must(t, os.MkdirAll(path, 0o755))
		}
		path := filepath.Join(bundleDir, "config.json")
		var spec specs.Spec
		text, err := os.ReadFile(path)
		testbed.Must(t, err)
		testbed.Must(t, json.Unmarshal(text, &spec))
		overlay := specs.Mount{Destination: at, Type: "overlay", Source: "overlay", Options: append(options, "lowerdir="+strings.Join(lower, ":"))}
		if spec.Mounts = append(spec.Mounts, overlay); at == "/" {
			spec.Root.Path = "merged"
			testbed.Must(t, os.Mkdir(filepath.Join(bundleDir, "merged"), 0o755))
		}
		text, err = json.Marshal(spec)
		testbed.Must(t, err)
		testbed.Must(t, os.WriteFile(path, text, 0o600))
		out, err := exec.Command("minirunc", "run", "-b", bundleDir, "many").CombinedOutput()
		if got := len(strings.Fields(string(out))); !oneByOne && err == nil || oneByOne && (err != nil || got != 41) {
			t.Errorf("overlay on %s: %v, %d words, want 41: %s", at, err, got, out)
		}
	}
}

// TestSettingsOfImage: entrypoints, volumes, and signals as images have them.
func TestSettingsOfImage(t *testing.T) {
	testbed.NeedRoot(t)
	programs := base(t)
	eachUser(t, func(u caller) {
		noEntrypoint := running("echo", "cmd")
		noEntrypoint.Entrypoint = []string{""}
		volumes := running("write", "/data/new/file", "x")
		volumes.Volumes = map[string]struct{}{"/data/new": {}, "etc/": {}, "/link/in": {}, "/": {}, "/proc/sys": {}, "/dev/shm": {}, "/sys": {}}
		tooMany := running("true")
		tooMany.Volumes = map[string]struct{}{}
		for i := range 300 {
			tooMany.Volumes[fmt.Sprint("/", i)] = struct{}{}
		}
		u.load(testImage{[]string{"entry"}, noEntrypoint, [][]byte{programs}},
			testImage{[]string{"volumes"}, volumes, [][]byte{programs, layerOf(t, member{name: "link", kind: tar.TypeSymlink, text: "/proc/sys"}, member{name: "proc/sys", kind: tar.TypeDir})}},
			testImage{[]string{"toomany"}, tooMany, [][]byte{programs}})
		u.want(map[string]string{
			"run --rm entry":                                   "cmd",
			"run --rm entry echo args":                         "args",
			"run --rm --entrypoint= entry echo x":              "x",
			"run --rm volumes":                                 "written",
			"run --rm --read-only volumes":                     "written",
			"run --rm --read-only volumes write /etc/new x":    "written", // with what the image has there
			"run --rm --read-only volumes cat /etc/greeting":   "hello",
			"run --rm --read-only volumes mode /data/new":      "drwxr-xr-x",
			"run --rm --read-only volumes write /home/new x":   "open /home/new: read-only file system (exit status 1)",
			"run --rm volumes write /proc/sys/kernel/ostype x": "open /proc/sys/kernel/ostype: read-only file system (exit status 1)",
			"run --rm toomany":                                 "minirun: image toomany:latest: 300 volumes, more than 256 (exit status 125)",
		})
	})
}

// TestStopSignalOfImage: a real-time signal, one that does not exist, and all names that kill takes.
func TestStopSignalOfImage(t *testing.T) {
	testbed.NeedRoot(t)
	programs := base(t)
	eachUser(t, func(u caller) {
		var images []testImage
		for name, signal := range map[string]string{"realtime": "SIGRTMIN+3", "unknown": "SIGNAL"} {
			c := running("trap", "RTMIN+3=3", "TERM=4")
			c.StopSignal = signal
			images = append(images, testImage{[]string{name}, c, [][]byte{programs}})
		}
		u.load(images...)
		for name, want := range map[string]string{"realtime": "37", "unknown": "SIGTERM"} {
			u.minirun("run -d --name " + name + " " + name)
			u.ready(name)
			out := u.minirun("stop " + name)
			if warned := strings.Contains(out, `unknown: the image's STOPSIGNAL: signal "SIGNAL": no such signal; SIGTERM is sent`); !strings.HasSuffix(out, name) || warned != (name == "unknown") {
				u.Errorf("stop: %s", out)
			}
			if got := u.minirun("logs " + name); !strings.HasSuffix(got, "got "+want) {
				u.Errorf("%s: %s, want signal %s", name, got, want)
			}
			u.want(map[string]string{"rm " + name: name})
		}
		if got := u.minirun("stop -s SIGNAL x"); !strings.Contains(got, "no such") {
			u.Errorf("stop -s SIGNAL: %s", got)
		}
	})
}

// TestNamesOfImage: load prints each name that an archive has.
func TestNamesOfImage(t *testing.T) {
	testbed.NeedRoot(t)
	eachUser(t, func(u caller) {
		layer := layerOf(t, member{name: "a"})
		u.load(testImage{[]string{"before:1"}, running("a"), [][]byte{layer}})
		got := u.load(testImage{[]string{"x:1", "y:2"}, running("a"), [][]byte{layer}}, testImage{nil, running("b"), [][]byte{layer}})
		if lines := strings.Split(got, "\n"); len(lines) != 4 || lines[0] != "Loaded image: x:1" || lines[1] != "Loaded image: y:2" || !strings.HasPrefix(lines[2], "Loaded image: sha256:") {
			u.Errorf("load prints %q", got)
		}
		if rows := u.minirun("images -q"); len(strings.Fields(rows)) != 4 {
			u.Errorf("images: %q, want four rows", rows)
		}
	})
}

// TestCompressed: what minirun does not decompress is named, and the hint helps when it is
// typed.
func TestCompressed(t *testing.T) {
	testbed.NeedRoot(t)
	t.Chdir(t.TempDir())
	for _, program := range []string{"xz", "bzip2"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%v: install the package of that name", err)
		}
		layer := layerOf(t, member{name: "a"})
		for command, content := range map[string][]byte{
			"load -i": saved(t, testImage{[]string{"packed:1"}, running("a"), [][]byte{layer}}), "load": saved(t, testImage{[]string{"packed:1"}, running("a"), [][]byte{layer}}),
			"import": layer,
		} {
			file := "it's " + program
			testbed.Must(t, os.WriteFile(file, content, 0o600))
			if out, err := exec.Command(program, "-f", file).CombinedOutput(); err != nil {
				t.Fatalf("%v, %s", err, out)
			}
			packed, _ := filepath.Glob(file + ".*")
			words := append(strings.Fields("minirun "+command), packed[0])
			if command == "import" {
				words = append(words, "packed:1")
			}
			cmd := exec.Command(words[0], words[1:]...)
			if command == "load" { // from standard input
				cmd = exec.Command("sh", "-c", `cat "$1" | minirun load`, "sh", packed[0])
			}
			out, err := cmd.CombinedOutput()
			_, hint, ok := strings.Cut(strings.TrimSpace(string(out)), "\nhint: ")
			if err == nil || !ok || !strings.Contains(string(out), "compressed with "+program) {
				t.Errorf("%q: %s", words, out)
				continue
			}
			hint = strings.Trim(hint, "`")
			if command == "load" { // the hint is for the middle of the pipe
				hint = `cat "$1" | ` + hint
			}
			if out, err := exec.Command("sh", "-c", hint, "sh", packed[0]).CombinedOutput(); err != nil {
				t.Errorf("%s: %v, %s", hint, err, out)
			}
			if out, err := exec.Command("minirun", "rmi", "packed:1").CombinedOutput(); err != nil {
				t.Errorf("after %s: rmi: %v, %s", hint, err, out)
			}
			os.Remove(packed[0])
		}
	}
}
