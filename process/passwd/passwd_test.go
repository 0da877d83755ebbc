package passwd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	passwdFile = "root:x:0:0:root:/root:/bin/sh\n# comment\n\nbroken\n1000:x:0:0:trap:/:/bin/sh\nhalf:x:\nhuge:x:99999999999:5::/:\n" +
		"www-data:x:33:34:www:/var/www:/bin/sh\nalice:x:1000:1001::/home/alice:\nlast:x:4294967295:0::/:\nroot:x:7:7::/evil:\n"
	groupFile = "root:x:0:root\nwww-data:x:34:\n5000:x:6:\nadm:x:4:root,alice\nvideo:x:44:alice\nvideo2:x:44:alice\nbad:x:no:alice\nown:x:1001:alice\n"
)

// TestLookup: users and groups by name and number.
func TestLookup(t *testing.T) {
	for _, c := range []struct {
		word string
		user specs.User
		home string
		err  string
	}{
		{"", specs.User{AdditionalGids: []uint32{0, 4}}, "/root", ""},
		{"root", specs.User{AdditionalGids: []uint32{0, 4}}, "/root", ""},
		{"0", specs.User{AdditionalGids: []uint32{0, 4}}, "/root", ""},
		{"www-data", specs.User{UID: 33, GID: 34, AdditionalGids: []uint32{34}}, "/var/www", ""},
		{"alice", specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 4, 44}}, "/home/alice", ""},
		{"1000", specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 4, 44}}, "/home/alice", ""}, // not the name 1000 (CVE-2016-3697)
		{"1234", specs.User{UID: 1234, AdditionalGids: []uint32{0}}, "", ""},
		{"4294967294", specs.User{UID: 4294967294, AdditionalGids: []uint32{0}}, "", ""},
		{"alice:video", specs.User{UID: 1000, GID: 44, AdditionalGids: []uint32{44}}, "/home/alice", ""},
		{"1234:5", specs.User{UID: 1234, GID: 5, AdditionalGids: []uint32{5}}, "", ""},
		{"1234:5000", specs.User{UID: 1234, GID: 5000, AdditionalGids: []uint32{5000}}, "", ""}, // not the name 5000
		{":", specs.User{}, "", `user ":": want USER or USER:GROUP`},
		{"1000:", specs.User{}, "", `user "1000:": want USER or USER:GROUP`}, // these four: CVE-2026-30892
		{":5", specs.User{}, "", `user ":5": want USER or USER:GROUP`},
		{"99999999999", specs.User{}, "", `user "99999999999": id "99999999999": want a number from 0 to 4294967294`},
		{"abc", specs.User{}, "", `user "abc": no such user in the image's /etc/passwd`},
		{"4294967295", specs.User{}, "", `user "4294967295": id "4294967295": want a number from 0 to 4294967294`},
		{"last", specs.User{}, "", `user "last": id "4294967295": want a number from 0 to 4294967294`},
		{"huge", specs.User{}, "", `user "huge": id "99999999999": want a number from 0 to 4294967294`},
		{"half", specs.User{}, "", `user "half": id "": want a number from 0 to 4294967294`},
		{"broken", specs.User{}, "", `user "broken": id "": want a number from 0 to 4294967294`},
		{"-1", specs.User{}, "", `user "-1": no such user in the image's /etc/passwd`},
		{"0x10", specs.User{}, "", `user "0x10": no such user in the image's /etc/passwd`},
		{"root:nobody", specs.User{}, "", `user "root:nobody": group "nobody": no such group in the image's /etc/group`},
		{"root:a:b", specs.User{}, "", `user "root:a:b": group "a:b": no such group in the image's /etc/group`},
		{"root:bad", specs.User{}, "", `user "root:bad": id "no": want a number from 0 to 4294967294`},
	} {
		user, home, err := Lookup(c.word, strings.NewReader(passwdFile), strings.NewReader(groupFile))
		if fmt.Sprint(user) != fmt.Sprint(c.user) || home != c.home || errorText(err) != c.err {
			t.Errorf("Lookup(%q) = %v, %q, %v; want %v, %q, %s", c.word, user, home, err, c.user, c.home, c.err)
		}
	}
}

// TestLongFiles: a line is as long as it is; a file has its bound; and what is given as
// numbers needs no file.
func TestLongFiles(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	passwd := "big:x:50:50:" + long + ":/:\nweb:x:33:33::/srv:\n"
	group := "all:x:50:" + strings.Repeat("user,", 200000) + "web,last\nmore:x:51:" + long + ",web"
	endless := strings.Repeat("\n", longest+1)
	for _, c := range []struct {
		word, passwd, group string
		want                string
	}{
		{"web", passwd, group, `33:33 [33 50 51] "/srv" `},
		{"33", passwd, group, `33:33 [33 50 51] "/srv" `},
		{"web:all", passwd, group, `33:50 [50] "/srv" `},
		{"web", endless + passwd, group, `0:0 [] "" user "web": longer than 4 MiB`},
		{"web", passwd, endless + group, `0:0 [] "" user "web": longer than 4 MiB`},
		{"web:all", passwd, endless + group, `0:0 [] "" user "web:all": longer than 4 MiB`},
		{"web:7", passwd, endless, `33:7 [7] "/srv" `},
		{"33", endless, endless, `33:0 [0] "" `},
		{"33:44", endless, endless, `33:44 [44] "" `},
		{"33", passwd, endless, `33:33 [33] "/srv" `},
		{"", endless, endless, `0:0 [0] "" `},
	} {
		u, home, err := Lookup(c.word, strings.NewReader(c.passwd), strings.NewReader(c.group))
		if got := fmt.Sprintf("%d:%d %d %q %s", u.UID, u.GID, u.AdditionalGids, home, errorText(err)); got != c.want {
			t.Errorf("Lookup(%q) = %s; want %s", c.word, got, c.want)
		}
	}
	for file, want := range map[string]string{passwd: "/srv", endless + passwd: ""} {
		home, err := Home(33, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(file)), nil })
		if home != want || err != nil {
			t.Errorf("Home(33) = %q, %v; want %q", home, err, want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzLookup: no input makes it panic; all digits are that user and nobody
// else; and no id is the one that means no change.
func FuzzLookup(f *testing.F) {
	for _, word := range []string{"", "root", "1000", "alice:video", "1000:", ":5", "99999999999"} {
		f.Add(word, passwdFile, groupFile)
	}
	f.Fuzz(func(t *testing.T, word, passwd, group string) {
		u, home, err := Lookup(word, strings.NewReader(passwd), strings.NewReader(group))
		if err != nil {
			if u.UID|u.GID != 0 || home != "" {
				t.Errorf("Lookup(%q) = %v, %q besides %v", word, u, home, err)
			}
			return
		}
		name, _, _ := strings.Cut(word, ":")
		if n, err := number(name); err == nil && u.UID != n {
			t.Errorf("Lookup(%q) = user %d", word, u.UID)
		}
		if u.UID == unchanged || u.GID == unchanged || slices.Contains(u.AdditionalGids, unchanged) {
			t.Errorf("Lookup(%q) = %v", word, u)
		}
	})
}

// TestHome: from a file that the container may have put anything into.
func TestHome(t *testing.T) {
	for _, c := range []struct {
		uid  uint32
		file string // "": does not exist
		want string
	}{
		{1000, passwdFile, "/home/alice"},
		{0, passwdFile, "/root"},
		{77, passwdFile, ""},
		{5, "x:x:5:5::relative:", ""},
		{5, "x:x:5:5::/nul\x00:", ""},
		{5, "", ""},
	} {
		home, err := Home(c.uid, func() (io.ReadCloser, error) {
			if c.file == "" {
				return nil, &fs.PathError{Op: "open", Path: "/etc/passwd", Err: fs.ErrNotExist}
			}
			return io.NopCloser(strings.NewReader(c.file)), nil
		})
		if home != c.want || err != nil {
			t.Errorf("Home(%d) = %q, %v; want %q", c.uid, home, err, c.want)
		}
	}
	if _, err := Home(0, func() (io.ReadCloser, error) { return nil, fs.ErrPermission }); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Home() = %v, want a permission error", err)
	}
}

const unchanged = 1<<32 - 1
