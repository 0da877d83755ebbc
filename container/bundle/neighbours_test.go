package bundle

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReplacePart(t *testing.T) {
	const lines, part = "10.88.0.2\tweb\n", otherPart + "10.88.0.2\tweb\n" + endOfPart
	for text, want := range map[string]string{
		"":                              part,
		"a\n":                           "a\n" + part,
		"a":                             "a\n" + part,
		otherPart + "old\n" + endOfPart: part,
		"a\n" + otherPart + "old\n" + endOfPart + "b\n":                 "a\n" + part + "b\n",
		"a\n" + otherPart + "b\n":                                       "a\n" + part + "b\n", // the end is missing
		"a\n" + otherPart + endOfPart + otherPart + "old\n" + endOfPart: "a\n" + part + otherPart + "old\n" + endOfPart,
		"x" + otherPart:   "x" + otherPart + part, // not a line of its own
		endOfPart + "a\n": endOfPart + "a\n" + part,
		ownPart + "10.88.0.2\th\n" + endOfPart + otherPart + endOfPart + "": ownPart + "10.88.0.2\th\n" + endOfPart + part,
	} {
		got := replacePart(text, otherPart, lines)
		if got != want {
			t.Errorf("replacePart(%q) = %q, want %q", text, got, want)
		}
		if again := replacePart(got, otherPart, lines); again != got {
			t.Errorf("replacePart(%q) is %q when it is done once more: it grows", got, again)
		}
	}
}

// TestMeet: what containers have made of their files is theirs; no link is followed.
func TestMeet(t *testing.T) {
	s, img := newStore(t)
	at := map[string]netip.Addr{}
	bundles := map[string]*Bundle{}
	for i, name := range []string{"web", "db", "link", "pipe", "big", "gone"} {
		b, err := s.Make(img, Request{Name: name})
		must(t, err)
		at[b.ID], bundles[name] = netip.AddrFrom4([4]byte{10, 88, 0, byte(2 + i)}), b
	}
	hosts := func(name string) string { return filepath.Join(bundles[name].Dir, "hosts") }
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, []byte("the host's\n"), 0o644))
	for _, name := range []string{"link", "pipe", "gone"} {
		must(t, os.Remove(hosts(name)))
	}
	must(t, os.Symlink(outside, hosts("link")))
	must(t, unix.Mkfifo(hosts("pipe"), 0o644))
	must(t, os.Truncate(hosts("big"), 1<<40))
	must(t, os.WriteFile(hosts("db"), []byte("1.2.3.4\tmine"), 0o644))
	before, err := os.Stat(hosts("web"))
	must(t, err)

	done := make(chan error, 1)
	go func() {
		done <- s.Meet(func() (Address, error) { return func(id string) netip.Addr { return at[id] }, nil }, bundles["web"])
	}()
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("a container's pipe stops everybody")
	}
	names := otherPart + "10.88.0.2\tweb\n10.88.0.3\tdb\n10.88.0.4\tlink\n10.88.0.5\tpipe\n10.88.0.6\tbig\n10.88.0.7\tgone\n" + endOfPart
	for name, want := range map[string]string{
		"db":  "1.2.3.4\tmine\n" + names,
		"web": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t" + bundles["web"].Spec.Hostname + "\n" + ownPart + "10.88.0.2\t" + bundles["web"].Spec.Hostname + "\n" + endOfPart + names,
	} {
		if got, err := os.ReadFile(hosts(name)); err != nil || string(got) != want {
			t.Errorf("hosts of %s: %q, %v; want %q", name, got, err, want)
		}
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != "the host's\n" {
		t.Errorf("a file of the host's is changed: %q, %v", text, err)
	}
	if after, err := os.Stat(hosts("web")); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file is another one: the container would not see it: %v", err)
	}

	for _, name := range []string{"link", "pipe", "big", "gone"} {
		delete(at, bundles[name].ID)
	}
	must(t, s.Meet(func() (Address, error) { return func(id string) netip.Addr { return at[id] }, nil }, nil))
	if got, err := os.ReadFile(hosts("db")); err != nil || !strings.HasSuffix(string(got), otherPart+"10.88.0.2\tweb\n10.88.0.3\tdb\n"+endOfPart) {
		t.Errorf("hosts of db, when others have gone: %q, %v", got, err)
	}
}
