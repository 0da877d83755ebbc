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
	"strings"
	"testing"

	"minirun/cmd/testbed"
	"minirun/rootfs/image"
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
	uid int
	env []string
}

// eachUser runs a test for root and for an ordinary user.
func eachUser(t *testing.T, run func(u caller)) {
	for name, uid := range map[string]int{"root": 0, "user": 1000} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			testbed.OpenUp(t, dir)
			u := caller{T: t, uid: uid, env: []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}}
			for _, name := range []string{"XDG_RUNTIME_DIR", "XDG_DATA_HOME"} {
				path := filepath.Join(dir, name)
				testbed.Must(t, os.Mkdir(path, 0o700))
				testbed.Must(t, os.Chown(path, uid, uid))
				u.env = append(u.env, name+"="+path)
			}
			if uid == 0 { // the default places are the tests' own
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
	out, err := cmd.CombinedOutput()
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
