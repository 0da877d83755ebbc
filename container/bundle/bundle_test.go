package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/container"
	"minirun/container/bundle/names"
	"minirun/namespaces/network"
	"minirun/rootfs/image"

	"minirun/examples/leftovers"
)

var update = flag.Bool("update", false, "write the golden files")

// newStore has one image: a user ann, and the program httpd. It runs as ann, but
// for an ordinary user, whose containers have only root.
func newStore(t *testing.T) (Store, *image.Image) {
	t.Helper()
	dir := t.TempDir()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range map[string]string{"etc/passwd": "ann:x:33:34::/home/ann:/bin/sh\n", "etc/group": "ann:x:34:\nvideo:x:44:ann\n"} {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}))
		_, err := w.Write([]byte(text))
		must(t, err)
	}
	must(t, w.Close())
	o, user := image.Options{}, "USER ann"
	if os.Geteuid() != 0 {
		o.Ownership, user = image.Mine, "USER 0"
	}
	images, err := image.Open(dir, o)
	must(t, err)
	name, err := image.ParseReference("web:v1")
	must(t, err)
	img, err := images.Import(&b, name, `CMD ["-D", "FOREGROUND"]`, `ENTRYPOINT ["httpd"]`, "ENV COLOUR=blue", "WORKDIR /srv", user,
		"EXPOSE 80", "EXPOSE 53/udp", "STOPSIGNAL SIGWINCH")
	must(t, err)
	return Store(dir), img
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestGolden compares the config.json of a request with a golden one: root's,
// or an ordinary user's.
func TestGolden(t *testing.T) {
	s, img := newStore(t)
	b, err := s.Make(img, Request{Name: "web", Hostname: "web", Env: []string{"A=1,2"}, Volumes: []string{"/etc:/host:ro"}, ReadOnly: true,
		Memory: 64 << 20, CPUs: 1.5, Pids: 10, CapDrop: []string{"ALL"}, CapAdd: []string{"NET_BIND_SERVICE"}})
	must(t, err)
	text, err := os.ReadFile(filepath.Join(b.Dir, "config.json"))
	must(t, err)
	got := strings.ReplaceAll(string(text), string(s), "STORE")
	for from, to := range map[string]string{
		`,\n\t\t\t"/sys/devices/system/cpu/[^"]*"`: "", // not every machine has them
		`[0-9a-f]{64}`:                                      "DIGEST",
		`"hostID": [1-9][0-9]*`:                             `"hostID": 1000`,
		`"org.minirun.created": "[^"]*"`:                    `"org.minirun.created": "NOW"`,
		`(?s)"seccomp": \{.*?\n\t\t\},(\n\t\t"maskedPaths)`: `"seccomp": "the default",$1`,
	} {
		got = regexp.MustCompile(from).ReplaceAllString(got, to)
	}
	path := "testdata/root.json"
	if os.Geteuid() != 0 {
		path = "testdata/user.json"
	}
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	if want, err := os.ReadFile(path); err != nil || got != string(want) {
		t.Errorf("config.json is not that of %s (%v):\n%s", path, err, got)
	}
}

// TestCommand: what entrypoint and command of image and request become.
func TestCommand(t *testing.T) {
	_, img := newStore(t)
	empty := &image.Image{}
	text := func(s string) *string { return &s }
	for _, c := range []struct {
		request Request
		image   *image.Image
		want    string
	}{
		{Request{}, img, "[httpd -D FOREGROUND]"},
		{Request{Args: []string{"-v"}}, img, "[httpd -v]"},
		{Request{Entrypoint: text("sh")}, img, "[sh]"},
		{Request{Entrypoint: text("sh"), Args: []string{"-c", "x"}}, img, "[sh -c x]"},
		{Request{Entrypoint: text(""), Args: []string{"ls"}}, img, "[ls]"},
		{Request{Entrypoint: text("")}, img, "image web:v1: names no command, and none was given"},
		{Request{Args: []string{"ls"}}, empty, "[ls]"},
	} {
		args, err := c.request.command(c.image)
		if got := fmt.Sprint(args); got != c.want && (err == nil || err.Error() != c.want) {
			t.Errorf("command(%+v) = %s, %v; want %s", c.request, got, err, c.want)
		}
	}
}

// TestEnvironment: the last of one name wins, and what the caller has not is
// not passed on.
func TestEnvironment(t *testing.T) {
	t.Setenv("MINE", "from outside")
	os.Unsetenv("NOBODYS")
	r := Request{Hostname: "web", Terminal: true, Env: []string{"A=1,2", "MINE", "NOBODYS", "COLOUR=red", "EMPTY="}}
	got := strings.Join(r.environment([]string{"COLOUR=blue", "PATH=/bin"}, ""), " ")
	if want := "PATH=/bin COLOUR=red HOME=/ HOSTNAME=web TERM=xterm A=1,2 MINE=from outside EMPTY="; got != want {
		t.Errorf("environment() = %s, want %s", got, want)
	}
}

// TestUser: names are those of the image's topmost layer.
func TestUser(t *testing.T) {
	_, img := newStore(t)
	for word, want := range map[string]string{"ann": "33 34 [34 44] /home/ann", "0": "0 0 [0] ", "5:6": "5 6 [6] "} {
		u, home, err := Request{User: word}.user(img)
		if got := fmt.Sprint(u.UID, u.GID, u.AdditionalGids) + " " + home; got != want || err != nil {
			t.Errorf("user(%q) = %s, %v; want %s", word, got, err, want)
		}
	}
}

// TestRefused: nothing is made, and the error says what was wrong.
func TestRefused(t *testing.T) {
	s, img := newStore(t)
	for want, r := range map[string]Request{
		`network "b": want bridge, none, host or container:NAME`:                        {Network: "b"},
		`network "container:": want bridge, none, host or container:NAME`:               {Network: "container:"},
		`network none: publishes no port: a port leads to a container on the bridge`:    {Publish: []network.Port{{Protocol: "tcp", Host: 80, Container: 80}}},
		`network host: publishes no port: a port leads to a container on the bridge`:    {Network: "host", Publish: []network.Port{{Protocol: "tcp", Host: 80, Container: 80}}},
		`network none: has no rate: only the link of a container on the bridge has one`: {Rate: network.Rate{Down: 1e6}},
		`name server "8.8.8.8\nnameserver 6.6.6.6": want an address`:                    {Etc: Etc{DNS: []string{"8.8.8.8\nnameserver 6.6.6.6"}}},
		`name server "fe80::1%eth0": want an address`:                                   {Etc: Etc{DNS: []string{"fe80::1%eth0"}}},
		`search domain "a\nb": want a name such as example.com, or . for none`:          {Etc: Etc{Search: []string{"a\nb"}}},
		`search domain "": want a name such as example.com, or . for none`:              {Etc: Etc{Search: []string{""}}},
		`host "db": want NAME:ADDRESS, such as db:10.0.0.7`:                             {Etc: Etc{Hosts: []string{"db"}}},
		`host "a b:1.2.3.4": want NAME:ADDRESS, such as db:10.0.0.7`:                    {Etc: Etc{Hosts: []string{"a b:1.2.3.4"}}},
		`host "a:1.2.3.4\n6.6.6.6 b": want NAME:ADDRESS, such as db:10.0.0.7`:           {Etc: Etc{Hosts: []string{"a:1.2.3.4\n6.6.6.6 b"}}},
		`host "\x1b[2J:1.2.3.4": want NAME:ADDRESS, such as db:10.0.0.7`:                {Etc: Etc{Hosts: []string{"\x1b[2J:1.2.3.4"}}},
		`volume "x": want source:/destination or source:/destination:ro`:                {Volumes: []string{"x"}},
		`volume ":/x": want source:/destination or source:/destination:ro`:              {Volumes: []string{":/x"}},
		`volume "/etc:x": want source:/destination or source:/destination:ro`:           {Volumes: []string{"/etc:x"}},
		`volume "/etc:/x:rw:ro": want source:/destination or source:/destination:ro`:    {Volumes: []string{"/etc:/x:rw:ro"}},
		`volume "/etc:/x:z": option "z": want ro or rw`:                                 {Volumes: []string{"/etc:/x:z"}},
		`volume "/no/such:/x": stat /no/such: no such file or directory`:                {Volumes: []string{"/no/such:/x"}},
		`user "eve": no such user in the image's /etc/passwd`:                           {User: "eve"},
		`memory limit 1: want at least 256k`:                                            {Memory: 1},
		`cpus 0.001: want 0.01 or more`:                                                 {CPUs: 0.001},
		`pids limit -5: want 1 or more, or -1 for none`:                                 {Pids: -5},
		`name "a/b": want letters, digits, or _+.- and none of these first`:             {Name: "a/b"},
		`name "-a": want letters, digits, or _+.- and none of these first`:              {Name: "-a"},
	} {
		_, err := s.Make(img, r)
		if err == nil || err.Error() != want {
			t.Errorf("Make() = %v, want %s", err, want)
		}
	}
	nothingLeft(t, s)
}

func nothingLeft(t *testing.T, s Store) {
	t.Helper()
	for _, dir := range []string{"containers", "names"} {
		entries, _ := os.ReadDir(filepath.Join(string(s), dir))
		for _, e := range entries {
			t.Errorf("left: %s/%s", dir, e.Name())
		}
	}
}

// TestNames: who has a name has it until it is removed, and a bundle is found
// by its name, its id, or a beginning of that which no other has.
func TestNames(t *testing.T) {
	s, img := newStore(t)
	web, err := s.Make(img, Request{Name: "web"})
	must(t, err)
	if _, err := s.Make(img, Request{Name: "web"}); err == nil || err.Error() != fmt.Sprintf("name \"web\": in use by container %.12s", web.ID) {
		t.Errorf("the name is given away: %v", err)
	}
	other, err := s.Make(img, Request{})
	must(t, err)
	for _, word := range []string{"web", web.ID, web.ID[:40]} {
		if b, err := s.Find(word); err != nil || b.ID != web.ID || b.Annotation(Image) != "web:v1" {
			t.Errorf("Find(%q) = %v, %v", word, b, err)
		}
	}
	for _, word := range []string{"", "nosuch", "..", ".", "a/b", "/etc", "../containers/" + web.ID} {
		if b, err := s.Find(word); !errors.Is(err, ErrNoSuch) {
			t.Errorf("Find(%q) = %v, %v, want no such container", word, b, err)
		}
	}
	// No random id begins with zz: they are hexadecimal.
	for _, id := range []string{"zz11", "zz22"} {
		dir, later := filepath.Join(string(s), "containers", id), time.Now().Add(time.Hour)
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.Chtimes(dir, later, later))
	}
	if _, err := s.Find("zz"); err == nil || err.Error() != "zz: 2 containers have ids that begin so" {
		t.Errorf("Find(zz) = %v", err)
	}
	list, err := s.List()
	must(t, err)
	var ids []string
	for _, b := range list {
		ids = append(ids, b.ID)
	}
	slices.Sort(ids[:min(2, len(ids))]) // of the same age, or nearly
	if want := []string{"zz11", "zz22", other.ID, web.ID}; !slices.Equal(ids, want) {
		t.Errorf("List() = %v, want the newest first: %v", ids, want)
	}
	for _, b := range list {
		must(t, s.Delete(b))
	}
	nothingLeft(t, s)
}

// TestSpoilt: one bad bundle hides no other, and can be removed; a name whose
// bundle has gone can be taken.
func TestSpoilt(t *testing.T) {
	s, img := newStore(t)
	web, err := s.Make(img, Request{Name: "web"})
	must(t, err)
	config := filepath.Join(web.Dir, "config.json")
	text, err := os.ReadFile(config)
	must(t, err)
	for n := 0; n < len(text)-1; n += 97 {
		must(t, os.WriteFile(config, text[:n], 0o600))
		list, err := s.List()
		if err != nil || len(list) != 1 || list[0].ID != web.ID {
			t.Fatalf("with %d bytes of config.json, List() = %v, %v", n, list, err)
		}
		if b, err := s.Find("web"); err != nil || b.ID != web.ID {
			t.Fatalf("with %d bytes of config.json, Find() = %v, %v", n, b, err)
		}
	}
	b, err := s.Find("web")
	must(t, err)
	if age := time.Since(b.CreatedAt()); age < 0 || age > time.Hour {
		t.Errorf("CreatedAt() = %v, want when it was made", b.CreatedAt())
	}
	must(t, s.Delete(b))
	again, err := s.Make(img, Request{Name: "web"})
	must(t, err)
	must(t, s.Delete(again))
	nothingLeft(t, s)
}

// TestCutShort: whoever makes or removes a bundle can be killed anywhere. What is left
// has a name, and goes by that name.
func TestCutShort(t *testing.T) {
	for what, ruin := range map[string]func(s Store, b *Bundle) error{
		"made: the name":            func(s Store, b *Bundle) error { return os.RemoveAll(b.Dir) },
		"made: the directory":       func(s Store, b *Bundle) error { return errors.Join(os.RemoveAll(b.Dir), os.Mkdir(b.Dir, 0o700)) },
		"made: no config.json":      func(s Store, b *Bundle) error { return os.Remove(filepath.Join(b.Dir, "config.json")) },
		"removed: only config.json": func(s Store, b *Bundle) error { return os.RemoveAll(filepath.Join(b.Dir, "upper")) },
		"removed: an empty one":     func(s Store, b *Bundle) error { return errors.Join(os.RemoveAll(b.Dir), os.Mkdir(b.Dir, 0o711)) },
		"renamed: a name not its own": func(s Store, b *Bundle) error {
			return os.WriteFile(filepath.Join(b.Dir, "config.json"), []byte(`{"annotations":{"org.minirun.name":"other"}}`), 0o600)
		},
	} {
		s, img := newStore(t)
		b, err := s.Make(img, Request{Name: "web"})
		must(t, err)
		must(t, ruin(s, b))
		found, err := s.Find("web")
		if err == nil {
			err = s.Delete(found)
		}
		if errors.Is(err, ErrNoSuch) {
			err = s.Forget("web")
		}
		if err != nil {
			t.Errorf("%s: rm -f web = %v", what, err)
		}
		nothingLeft(t, s)
	}
}

// TestFailedRemoval: a bundle that cannot be removed keeps its name, and says what it is.
func TestFailedRemoval(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("no root: no mount that could not be removed")
	}
	s, img := newStore(t)
	b, err := s.Make(img, Request{Name: "web"})
	must(t, err)
	busy := filepath.Join(b.Dir, "upper", "busy")
	must(t, os.Mkdir(busy, 0o755))
	must(t, unix.Mount("tmpfs", busy, "tmpfs", 0, ""))
	if err := s.Delete(b); !errors.Is(err, unix.EBUSY) {
		t.Errorf("Delete() = %v, want EBUSY", err)
	}
	if found, err := s.Find("web"); err != nil || found.ID != b.ID || found.Annotation(Image) != "web:v1" {
		t.Errorf("after a failed Delete, Find(web) = %v, %v", found, err)
	}
	must(t, unix.Unmount(busy, 0))
	must(t, s.Delete(b))
	nothingLeft(t, s)
}

// TestFind: whoever looks for one bundle reads no other's config.json. FIFOs stand
// for the others': to open one would wait for ever.
func TestFind(t *testing.T) {
	s, img := newStore(t)
	web, err := s.Make(img, Request{Name: "web"})
	must(t, err)
	for n := range 8 {
		dir := filepath.Join(s.containers(), fmt.Sprintf("%c-%d", 'g'+n, n)) // no id begins with these
		must(t, os.Mkdir(dir, 0o755))
		must(t, unix.Mkfifo(filepath.Join(dir, "config.json"), 0o600))
		defer os.RemoveAll(dir)
	}
	for _, word := range []string{"web", web.ID, web.ID[:6]} {
		found := make(chan *Bundle, 1)
		go func() {
			b, err := s.Find(word)
			if err != nil {
				t.Error(err)
			}
			found <- b
		}()
		select {
		case b := <-found:
			if b == nil || b.ID != web.ID || b.Annotation(Name) != "web" {
				t.Errorf("Find(%q) = %v", word, b)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("Find(%q) reads the config.json of others", word)
		}
	}
}

// TestReadOnly: a store that nothing can be written to is an error.
func TestReadOnly(t *testing.T) {
	_, img := newStore(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o644))
	if _, err := Store(file).Make(img, Request{}); err == nil || !strings.HasSuffix(err.Error(), "not a directory") {
		t.Errorf("Make() = %v, want an error", err)
	}
}

// TestRandomNames: names that are names, and seldom the same.
func TestRandomNames(t *testing.T) {
	seen := map[string]bool{}
	for try := range 200 {
		name := names.Random(try % 2)
		if err := container.CheckID(name); err != nil || !strings.Contains(name, "_") {
			t.Errorf("Random() = %q: %v", name, err)
		}
		seen[name] = true
	}
	if len(seen) < 150 {
		t.Errorf("of 200 names only %d are different", len(seen))
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }

// TestExcept: the kernel maps an id of the host only once, and the own one is root.
func TestExcept(t *testing.T) {
	for _, c := range []struct {
		first, count, own uint32
		want              string
	}{
		{100000, 65536, 1000, "[{1 100000 65536}]"}, {900, 200, 1000, "[{1 900 100} {101 1001 99}]"}, {1000, 10, 1000, "[{1 1001 9}]"},
		{991, 10, 1000, "[{1 991 9}]"}, {1000, 1, 1000, "[]"}, {1001, 5, 1000, "[{1 1001 5}]"}, {990, 10, 1000, "[{1 990 10}]"},
	} {
		if got := fmt.Sprint(except(c.first, c.count, c.own)); got != c.want {
			t.Errorf("except(%d, %d, %d) = %s, want %s", c.first, c.count, c.own, got, c.want)
		}
	}
}

// FuzzStore: whatever a config.json of the store has in it, and wherever a name leads to, the
// container is listed, and can be removed by its id; nothing outside goes.
func FuzzStore(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"ociVersion":"1.0.2","process":{"args":["x"],"cwd":"/","capabilities":{}},"root":{"path":"r"}}`,
		`{"ociVersion":"1.0.2","process":{"args":[],"cwd":"/"},"annotations":{"org.minirun.name":"../x"}}`, `{"ociVersion":"1.0.2","annotations":{"org.minirun.created":"never"}}`} {
		f.Add([]byte(seed), "../containers/f00", "web")
	}
	f.Add([]byte(`{}`), "../../outside", "..")
	f.Add([]byte(`{}`), "/", "-")
	f.Fuzz(func(t *testing.T, config []byte, target, word string) {
		top := t.TempDir()
		s := Store(top + "/store")
		for _, dir := range []string{"store/containers/f00", "store/names", "outside"} {
			must(t, os.MkdirAll(filepath.Join(top, dir), 0o700))
		}
		must(t, os.WriteFile(top+"/outside/kept", nil, 0o600))
		must(t, os.WriteFile(top+"/store/containers/f00/config.json", config, 0o600))
		os.Symlink(target, top+"/store/names/web") // what is no target is no link
		list, err := s.List()
		if err != nil || len(list) != 1 || list[0].ID != "f00" {
			t.Fatalf("List() = %v, %v, want f00", list, err)
		}
		list[0].CreatedAt()
		s.Check(list[0])
		if b, err := s.Find(word); err == nil && b.ID != "f00" {
			t.Errorf("Find(%q) = %s", word, b.ID)
		}
		s.Forget(word)
		b, err := s.Find("f0")
		must(t, err)
		must(t, s.Delete(b))
		if list, err := s.List(); err != nil || len(list) != 0 {
			t.Errorf("after Delete(), List() = %v, %v", list, err)
		}
		if _, err := os.Stat(top + "/outside/kept"); err != nil {
			t.Error(err)
		}
	})
}
