package attacks

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/rootfs/image"
)

// What whoever made an image chose: its configuration and its files.

// A layer of an image has the probe, entries of an archive, and regular files: name and text.
type layer struct {
	entries []tar.Header
	texts   [][2]string
}

// saved loads an image with a configuration, and with layers besides the probe's, under
// a name.
func saved(t *testing.T, name string, config map[string]any, layers ...layer) {
	t.Helper()
	path := filepath.Join(openDir(t), "saved.tar")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	w := tar.NewWriter(f)
	add := func(name string, data []byte) {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}))
		_, err := w.Write(data)
		must(t, err)
	}
	var names, ids []string
	for i, l := range append([]layer{{}}, layers...) {
		data, err := os.ReadFile(imageTar(t, l.entries, l.texts...))
		must(t, err)
		names, ids = append(names, fmt.Sprintf("%d.tar", i)), append(ids, string(image.DigestOf(data)))
		add(names[i], data)
	}
	text := func(v any) []byte { data, err := json.Marshal(v); must(t, err); return data }
	add("config.json", text(map[string]any{"architecture": runtime.GOARCH, "os": "linux", "config": config, "rootfs": map[string]any{"type": "layers", "diff_ids": ids}}))
	add("manifest.json", text([]map[string]any{{"Config": "config.json", "RepoTags": []string{name + ":latest"}, "Layers": names}}))
	must(t, w.Close())
	if r := minirun(t, "load", "-i", path); r.code != 0 {
		t.Fatalf("load: %v", r)
	}
	t.Cleanup(func() { minirun(t, "rmi", name) })
}

// memory is how much a program that has ended had at most, in kibibytes. The number
// begins with that of the tests themselves, from whom the program was made.
func memory(t *testing.T, program string, args ...string) (result, int64) {
	t.Helper()
	cmd := command(program, args...)
	r := finish(t, cmd)
	return r, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
}

// CVE-2026-47262. A file of /etc may be as long as the disk, and may be one line: to
// know who its users are, nobody has to have it in memory.
func endlessUsers(t *testing.T) {
	const size, most = 64 << 20, 40 << 10 // bytes in the file; kibibytes more than the tests themselves have
	zeros := filepath.Join(openDir(t), "image.tar")
	f, err := os.Create(zeros)
	must(t, err)
	w := tar.NewWriter(f)
	program, err := os.ReadFile(prober)
	must(t, err)
	for _, file := range []struct {
		name string
		text io.Reader
		size int64
	}{{"probe", strings.NewReader(string(program)), int64(len(program))}, {"etc/group", endless("x:x:1:y\n"), size}, {"etc/passwd", endless("x:x:5:6::/:/\n"), size}} {
		must(t, w.WriteHeader(&tar.Header{Name: file.name, Mode: 0o755, Size: file.size}))
		_, err := io.CopyN(w, file.text, file.size)
		must(t, err)
	}
	must(t, w.Close())
	must(t, f.Close())
	if r := minirun(t, "import", zeros, "endless-users"); r.code != 0 {
		t.Fatalf("import: %v", r)
	}
	defer minirun(t, "rmi", "endless-users")
	small, own := memory(t, people, "run", "--rm", "-d", "--name", "endless-users", "endless-users", "/probe", "sleep")
	if small.code != 0 {
		t.Fatalf("run: %v", small)
	}
	defer minirun(t, "rm", "-f", "endless-users")
	check := func(words ...string) {
		t.Helper()
		if r, used := memory(t, people, words...); used-own > most {
			t.Errorf("%q took %d KiB more, want %d at most (%v)", words, used-own, most, r)
		}
	}
	root := "/proc/" + minirun(t, "inspect", "-f", "{{.State.Pid}}", "endless-users").out + "/root/etc/"
	for _, user := range []string{"1000", "nobody", "x:nobody"} {
		check("exec", "-u", user, "endless-users", "/probe", "id")
		check("run", "--rm", "-u", user, "endless-users", "/probe", "id")
	}
	must(t, os.Remove(root+"passwd")) // then one line, of nothing but zeros
	must(t, os.WriteFile(root+"passwd", nil, 0o644))
	must(t, os.Truncate(root+"passwd", size))
	for _, user := range []string{"1000", "nobody", "1000:nobody"} {
		check("exec", "-u", user, "endless-users", "/probe", "id")
	}
	if r, used := memory(t, prober, "cat", root+"group"); used-own < most {
		t.Errorf("who reads it whole takes only %d KiB more: the test would not notice (%.100s)", used-own, r.err)
	}
}

// endless repeats a text.
func endless(text string) io.Reader { return &repeated{text: strings.Repeat(text, 1000)} }

type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

// CVE-2024-40635. What does not fit into 32 bits is an error; cut, it would be root.
func largeUsers(t *testing.T) {
	for user, want := range map[string]string{
		"2147483647": "2147483647 0 [0]", "2147483648": "2147483648 0 [0]", "4294967294": "4294967294 0 [0]", "2147483648:2147483648": "2147483648 2147483648 [2147483648]",
		"4294967295": "", "4294967296": "", "8589934592": "", "18446744073709551615": "", "18446744073709551616": "", "-1": "", "-4294967296": "", "1:4294967296": "", "1:-1": "",
	} {
		saved(t, "large-user", map[string]any{"User": user})
		for _, words := range [][]string{{"run", "--rm", "large-user"}, {"run", "--rm", "-u", user, "large-user"}} {
			r := minirun(t, append(words, "/probe", "id")...)
			if r.out != want || (r.code == 0) != (want != "") {
				t.Errorf("%q, USER %s: %v; want %q", words, user, r, want)
			}
			oneLine(t, r.err)
		}
		minirun(t, "rmi", "large-user")
	}
}

// CVE-2024-9676. Who looks a user up in an image opens its passwd and group, and must
// neither wait for them, nor read those of the host, nor read without end.
func passwdKinds(t *testing.T) {
	for kind, header := range map[string]tar.Header{
		"a pipe": {Typeflag: tar.TypeFifo, Mode: 0o644}, "a directory": {Typeflag: tar.TypeDir, Mode: 0o755},
		"a link to the host's": {Typeflag: tar.TypeSymlink, Linkname: canary + "/passwd"}, "a link up": {Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("../", 30) + canary + "/passwd"},
		"a link to /proc": {Typeflag: tar.TypeSymlink, Linkname: "/proc/self/root" + canary + "/passwd"}, "a link to itself": {Typeflag: tar.TypeSymlink, Linkname: "passwd"},
		"the null device": {Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}, "the zero device": {Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5, Mode: 0o666},
		"the terminal": {Typeflag: tar.TypeChar, Devmajor: 5, Mode: 0o666}, "a disk": {Typeflag: tar.TypeBlock, Devmajor: 7, Mode: 0o666},
	} {
		passwd, group := header, header
		passwd.Name, group.Name = "etc/passwd", "etc/group"
		saved(t, "passwd-kinds", map[string]any{"Cmd": []string{"/probe", "id"}}, layer{entries: []tar.Header{passwd, group}})
		begun := time.Now()
		for user, want := range map[string]string{"": "0 0 [0]", "5:6": "5 6 [6]", "evil": "", "evil:evil": "", "5:evil": ""} {
			r := minirun(t, "run", "--rm", "-u", user, "passwd-kinds")
			if r.out != want && !(r.code != 0 && strings.Contains(kind, "itself")) {
				t.Errorf("/etc/passwd is %s, -u %q: %v; want %q", kind, user, r, want)
			}
			oneLine(t, r.err)
		}
		if took := time.Since(begun); took > 30*time.Second {
			t.Errorf("/etc/passwd is %s: took %v", kind, took)
		}
		minirun(t, "rmi", "passwd-kinds")
	}
}

// CVE-2026-53488. A label is a text for people: none becomes a command, a hook, a mount
// or a property of the container's.
func labels(t *testing.T) {
	touch := "/bin/touch " + canary + "/new"
	all := map[string]string{"io.containerd.image.command": touch, "install": touch}
	for _, key := range []string{"RUN", "INSTALL", "run", "UNINSTALL", "io.podman.annotations.label", "org.systemd.property.ExecStartPre", "run.oci.hooks.stderr", "run.oci.handler",
		"io.containers.rootfs.mount", "devcontainer.metadata", "org.minirun.remove", "org.minirun.layers", "org.minirun.name", "org.minirun.stopSignal", "org.minirun.ports", "org.minirun.command",
		"org.opencontainers.image.ref.name", "nvidia.com/hook", "cri-o.io/hooks", "io.kubernetes.cri-o.Volumes", "containerd.io/restart.logpath", "containerd.io/restart.status"} {
		all[key] = touch
	}
	saved(t, "labels", map[string]any{"Labels": all, "Cmd": []string{"/probe", "sleep"}})
	for _, words := range [][]string{
		{"images"}, {"inspect", "labels"}, {"run", "--rm", "labels", "/probe", "say", "hello"}, {"run", "-d", "--name", "labelled", "labels"}, {"ps", "-a"}, {"tree"},
		{"exec", "labelled", "/probe", "say", "hello"}, {"stop", "-t", "0", "labelled"},
	} {
		if r := minirun(t, words...); r.code != 0 || (words[len(words)-1] == "hello" && r.out != "hello") {
			t.Errorf("%q: %v", words, r)
		}
	}
	text, err := os.ReadFile("/var/lib/minirun/containers/" + minirun(t, "inspect", "-f", "{{.ID}}", "labelled").out + "/config.json")
	must(t, err)
	if strings.Contains(string(text), "touch") || !strings.Contains(minirun(t, "inspect", "labels").out, touch) {
		t.Errorf("labels in the container's configuration: %s", text)
	}
	if r := minirun(t, "rm", "-f", "labelled"); r.code != 0 {
		t.Errorf("rm: %v", r)
	}
}

// CVE-2026-41567. Who unpacks on the host executes no program of the image's, and none
// of the directory that the caller is in.
func decompressors(t *testing.T) {
	var programs []tar.Header
	dir := openDir(t)
	script := "#!/bin/sh\n/bin/touch " + canary + "/new\nexec /bin/cat\n"
	for _, name := range []string{"gzip", "gunzip", "unpigz", "pigz", "zstd", "unzstd", "xz", "bzip2", "tar", "minirunc", "rm", "newuidmap"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
		for _, where := range []string{"bin/", "usr/bin/", "usr/local/sbin/", ""} {
			programs = append(programs, tar.Header{Name: where + name, Typeflag: tar.TypeLink, Linkname: "probe"})
		}
	}
	plain := imageTar(t, programs)
	for _, command := range []string{"gzip", "zstd", "xz", "cat"} {
		packed := filepath.Join(dir, "packed."+command)
		if r := finish(t, shell("%s <%s >%s", command, plain, packed)); r.code != 0 {
			continue // a format for which this machine has no program
		}
		for _, path := range []string{"$PATH", ":$PATH", ".:$PATH", "$PATH:.", "bin:$PATH"} {
			cmd := shell("PATH=%s; cd %s; exec %s import packed.%s packed", path, dir, people, command)
			if r := finish(t, cmd); r.code == 0 {
				if r := minirun(t, "run", "--rm", "packed", "/probe", "say", "hello"); r.out != "hello" {
					t.Errorf("%s: run: %v", command, r)
				}
				minirun(t, "rmi", "packed")
			} else if oneLine(t, r.err[strings.LastIndex(r.err, "\n")+1:]); command == "gzip" || command == "cat" {
				t.Errorf("%s: import: %v", command, r)
			}
		}
	}
}

// shell is a command line, whose words are those of the format.
func shell(format string, words ...any) *exec.Cmd {
	return command("/bin/sh", "-c", fmt.Sprintf(format, words...))
}

// CVE-2025-47290, CVE-2026-17106, CVE-2026-46703. While a layer is unpacked, somebody
// exchanges its directories with links to the host: what is unpacked stays below the
// layer's directory, or is refused.
func exchangedUnpack(t *testing.T) {
	var entries []tar.Header
	for i := range 400 {
		dir := fmt.Sprintf("a/%d", i%4)
		entries = append(entries, tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o777}, tar.Header{Name: fmt.Sprintf("%s/b/new%d", dir, i), Typeflag: tar.TypeReg, Mode: 0o644},
			tar.Header{Name: dir + "/plain", Typeflag: tar.TypeReg, Mode: 0o666, Uid: 7}, tar.Header{Name: fmt.Sprintf("hard%d", i), Typeflag: tar.TypeLink, Linkname: dir + "/plain"},
			tar.Header{Name: dir + "/dir/.wh..wh..opq", Typeflag: tar.TypeReg}, tar.Header{Name: dir + "/.wh.plain", Typeflag: tar.TypeReg})
	}
	archive := imageTar(t, entries)
	var exchanged atomic.Int64
	var group sync.WaitGroup
	stop := make(chan bool)
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, pattern := range []string{"a", "a/[0-9]", "a/[0-9]/dir"} { // wherever it is unpacked below the store
				found, _ := filepath.Glob("/var/lib/minirun/tmp/*/layers/*/" + pattern)
				for _, dir := range found {
					os.Symlink(canary, dir+".link") // EEXIST: made before
					if unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, dir+".link", unix.RENAME_EXCHANGE) == nil {
						exchanged.Add(1)
						unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, dir+".link", unix.RENAME_EXCHANGE)
					}
				}
			}
		}
	})
	made, want := 0, int64(rounds(50))
	for begun := time.Now(); exchanged.Load() < want && time.Since(begun) < 2*time.Minute; {
		if r := minirun(t, "import", archive, "exchanged"); r.code == 0 {
			made++
			minirun(t, "rmi", "exchanged")
		}
	}
	close(stop)
	group.Wait()
	t.Logf("%d made, %d times exchanged", made, exchanged.Load())
	if exchanged.Load() < want {
		t.Errorf("only %d times was something exchanged, want %d", exchanged.Load(), want)
	}
}

// GHSA-rp3h-jf77-q9p4. An archive twice as large takes twice as many system calls to
// unpack and to remove, whatever its entries are.
func growingLayers(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("no strace, to count system calls: install the package strace")
	}
	file := func(format string, words ...any) tar.Header {
		return tar.Header{Name: fmt.Sprintf(format, words...), Typeflag: tar.TypeReg, Mode: 0o644}
	}
	for shape, entry := range map[string]func(i, n int) []tar.Header{
		"one directory":    func(i, n int) []tar.Header { return []tar.Header{file("f%d", i)} },
		"one file":         func(i, n int) []tar.Header { return []tar.Header{file("f")} },
		"deep directories": func(i, n int) []tar.Header { return []tar.Header{file("%s%d", strings.Repeat("d/", 200), i)} },
		"links to links": func(i, n int) []tar.Header {
			return []tar.Header{{Name: fmt.Sprintf("l%d", i), Typeflag: tar.TypeSymlink, Linkname: fmt.Sprintf("l%d", i-1)}, file("l%d/f", i)}[:1+i/n]
		},
		"hard links": func(i, n int) []tar.Header {
			return []tar.Header{file("f"), {Name: fmt.Sprintf("h%d", i), Typeflag: tar.TypeLink, Linkname: "f"}}[min(i, 1):]
		},
		"whiteouts":         func(i, n int) []tar.Header { return []tar.Header{file("d/f%d", i), file("d/.wh.f%d", i)} },
		"opaque, each time": func(i, n int) []tar.Header { return []tar.Header{file("d/f%d", i), file("d/.wh..wh..opq")} },
		"directories that links replace": func(i, n int) []tar.Header {
			name := fmt.Sprintf("a%d", i)
			return []tar.Header{{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, {Name: name, Typeflag: tar.TypeSymlink, Linkname: fmt.Sprintf("a%d", i-1)}}
		},
	} {
		calls := func(n int) int {
			t.Helper()
			var entries []tar.Header
			for i := range n {
				entries = append(entries, entry(i, n)...)
			}
			archive, log := imageTar(t, entries), filepath.Join(openDir(t), "log")
			for _, words := range [][]string{{"import", archive, "growing"}, {"rmi", "growing"}} {
				cmd := command("strace", append([]string{"-f", "-qq", "-A", "-o", log, "-e", "trace=file,desc", "-e", "signal=none", people}, words...)...)
				if r := finish(t, cmd); r.code != 0 {
					t.Fatalf("%s: %q: %v", shape, words, r)
				}
			}
			text, err := os.ReadFile(log)
			must(t, err)
			return strings.Count(string(text), "\n")
		}
		few, many := calls(300), calls(600)
		t.Logf("%s: %d and %d calls", shape, few, many)
		if float64(many) > 2.2*float64(few) {
			t.Errorf("%s: %d calls for 300 entries, %d for 600", shape, few, many)
		}
	}
}

// CVE-2026-15809. Whatever a value is, it adds no line to a file that is written for the
// container, and none to those that the image has.
func forgedLines(t *testing.T) {
	saved(t, "forged", map[string]any{"Env": []string{"HOME=/x\nevil::0:0::/:/bin/sh", "HOSTNAME=a\n1.2.3.4 evil", "A=\nevil"}, "Hostname": "a\n1.2.3.4 evil", "Domainname": "\nevil", "User": "5:6"},
		layer{texts: [][2]string{{"etc/passwd", ""}}})
	const evil = "a\n1.2.3.4 evil"
	for about, c := range map[string]struct {
		words []string
		made  bool // else it is refused
	}{
		"the image's":      {nil, true},
		"HOME":             {[]string{"-e", "HOME=/x\nevil::0:0::/:/bin/sh"}, true},
		"HOSTNAME":         {[]string{"-e", "HOSTNAME=" + evil}, true},
		"a host name":      {[]string{"--hostname", evil}, false},
		"a space":          {[]string{"--hostname", "a 1.2.3.4"}, false},
		"a tab":            {[]string{"--hostname", "a\tevil"}, false},
		"a comment":        {[]string{"--hostname", "a#evil"}, false},
		"a terminal's":     {[]string{"--hostname", "a\x1b[2J"}, false},
		"a name":           {[]string{"--name", evil}, false},
		"a user":           {[]string{"-u", "evil\nevil::0:0"}, false},
		"a directory":      {[]string{"-w", "/x\nevil"}, true},
		"a usual hostname": {[]string{"--hostname", "web-1.example_2.org"}, true},
	} {
		for _, path := range []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd"} {
			words := append([]string{"run", "--rm"}, c.words...)
			r := minirun(t, append(words, "forged", "/probe", "cat", path)...)
			if (r.code == 0) != c.made || strings.Contains(r.out, "evil") || strings.Contains(r.out, "1.2.3.4") {
				t.Errorf("%s: %s holds: %v", about, path, r)
			}
			if wants := map[string]int{"/etc/hosts": 3, "/etc/hostname": 1, "/etc/passwd": 0}; c.made && path != "/etc/resolv.conf" && len(strings.FieldsFunc(r.out, func(r rune) bool { return r == '\n' })) != wants[path] {
				t.Errorf("%s: %s holds %q; want %d lines", about, path, r.out, wants[path])
			}
			oneLine(t, r.err)
		}
	}
}

// Who an image's user is, its files say as the container will see them: not the files of
// one layer, which another one takes away, or leads elsewhere.
func usersOfLayers(t *testing.T) {
	first := layer{texts: [][2]string{{"etc/passwd", "web:x:1000:1000::/:\n"}, {"etc/group", "web:x:1000:\n"}, {"data/passwd", "web:x:3000:3000::/:\n"}}}
	link := func(name, target string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
	}
	for about, c := range map[string]struct {
		second  layer
		web, no string // of USER web, and of no USER
	}{
		"nothing":                   {layer{}, "1000 1000 [1000]", "0 0 [0]"},
		"another passwd":            {layer{texts: [][2]string{{"etc/passwd", "web:x:2000:2000::/:\n"}}}, "2000 2000 [2000]", "0 0 [0]"},
		"no passwd any more":        {layer{entries: []tar.Header{{Name: "etc/.wh.passwd", Typeflag: tar.TypeReg}}}, "", "0 0 [0]"},
		"no /etc any more":          {layer{entries: []tar.Header{{Name: ".wh.etc", Typeflag: tar.TypeReg}}}, "", "0 0 [0]"},
		"an opaque /etc":            {layer{entries: []tar.Header{{Name: "etc/.wh..wh..opq", Typeflag: tar.TypeReg}}}, "", "0 0 [0]"},
		"a link into another layer": {layer{entries: []tar.Header{link("etc/passwd", "../data/passwd")}}, "3000 3000 [3000]", "0 0 [0]"},
		"a whole link":              {layer{entries: []tar.Header{link("etc/passwd", "/data/passwd")}}, "3000 3000 [3000]", "0 0 [0]"},
		"/etc is a link":            {layer{entries: []tar.Header{link("etc", "data")}}, "3000 3000 [3000]", "0 0 [0]"},
		"/etc is a link out":        {layer{entries: []tar.Header{link("etc", strings.Repeat("../", 20)+canary)}}, "", "0 0 [0]"},
		"a link out":                {layer{entries: []tar.Header{link("etc/passwd", canary+"/passwd")}}, "", "0 0 [0]"},
		"root by another name":      {layer{texts: [][2]string{{"etc/passwd", "web:x:0:0::/:\n"}}}, "0 0 [0]", "0 0 [0]"},
	} {
		for user, want := range map[string]string{"web": c.web, "": c.no} {
			saved(t, "users-of-layers", map[string]any{"User": user, "Cmd": []string{"/probe", "id"}}, first, c.second)
			if r := minirun(t, "run", "--rm", "users-of-layers"); r.out != want || (r.code == 0) != (want != "") {
				t.Errorf("the second layer has %s, USER %q: %v; want %q", about, user, r, want)
			}
			minirun(t, "rmi", "users-of-layers")
		}
	}
}

// Links whose targets lead up and down hundreds of times, each to the next one: the work of
// each entry behind them is bounded.
func costlyLinks(t *testing.T) {
	entries := []tar.Header{{Name: "d", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "l0", Typeflag: tar.TypeSymlink, Linkname: "d"}}
	for i := range 38 {
		entries = append(entries, tar.Header{Name: fmt.Sprintf("l%d", i+1), Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("d/../", 400) + fmt.Sprintf("l%d", i)})
	}
	for i := range 2000 {
		entries = append(entries, tar.Header{Name: fmt.Sprintf("l38/f%d", i), Typeflag: tar.TypeReg, Mode: 0o644})
	}
	r := minirun(t, "import", imageTar(t, entries), "costly")
	if r.code == 0 || !strings.Contains(r.err, "symbolic links lead through more than") {
		t.Errorf("import: %v; want an error: it is too much", r)
		minirun(t, "rmi", "costly")
	}
	usual := []tar.Header{{Name: "usr/bin", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"}}
	for i := range 2000 {
		usual = append(usual, tar.Header{Name: fmt.Sprintf("bin/f%d", i), Typeflag: tar.TypeReg, Mode: 0o644})
	}
	if r := minirun(t, "import", imageTar(t, usual), "costly"); r.code != 0 {
		t.Errorf("import of an image with links as distributions have them: %v", r)
	}
	minirun(t, "rmi", "costly")
}
