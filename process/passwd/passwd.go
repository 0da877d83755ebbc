// Package passwd looks users up in the passwd and group files of a container.
//
// The kernel knows users and groups by number only. Names are a convention of
// programs: passwd(5) and group(5) map them to numbers, and tell a user's home
// directory. In a container these are the image's own files, so they are hostile:
// long, contradictory, or full of traps. The caller bounds how much is read.
//
// Man pages: [passwd(5)], [group(5)].
//
// [passwd(5)]: https://man7.org/linux/man-pages/man5/passwd.5.html
// [group(5)]: https://man7.org/linux/man-pages/man5/group.5.html
package passwd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Lookup finds a user as run -u and image configurations write it: "" (root),
// a name, a number, or either with ":" and a group. passwd and group may be
// empty. A word of digits is a number, even if passwd has a user of that name. If
// word names a group, the other groups of the user are left out.
//
// Lookup returns the user and the home directory, "" if passwd does not tell it.
// The additional groups are the user's own, then the others in ascending order.
// An unknown name, a number above 4294967294, and an empty half are errors.
func Lookup(user string, passwd, group io.Reader) (specs.User, string, error) {
	u, home, err := lookup(user, passwd, group)
	if err != nil {
		return specs.User{}, "", fmt.Errorf("user %q: %w", user, err)
	}
	return u, home, nil
}

func lookup(user string, passwd, group io.Reader) (u specs.User, home string, err error) {
	name, groupName, hasGroup := strings.Cut(user, ":")
	if user == "" {
		name = "0"
	}
	if name == "" || hasGroup && groupName == "" {
		return u, "", errors.New("want USER or USER:GROUP")
	}
	entry, known, err := find(passwd, name, 2)
	if err != nil {
		return u, "", err
	}
	groups, err := readLines(group)
	if err != nil {
		return u, "", err
	}
	if known {
		if u.UID, err = number(field(entry, 2)); err == nil {
			u.GID, err = number(field(entry, 3))
		}
		home = field(entry, 5)
	} else if u.UID, err = number(name); !digits(name) {
		err = errors.New("no such user in the image's /etc/passwd")
	}
	if err == nil && hasGroup {
		u.GID, err = groupID(groups, groupName)
	}
	// The user's own group is an additional one, too. Otherwise a set-group-ID
	// program would leave that group, and could open files whose mode denies them
	// to its members (CVE-2022-36109).
	u.AdditionalGids = []uint32{u.GID}
	if known && !hasGroup {
		u.AdditionalGids = append(u.AdditionalGids, memberOf(groups, field(entry, 0), u.GID)...)
	}
	return u, home, err
}

// Home is the home directory of a user, from the file that open opens: "" if the
// file does not exist, or has no absolute path for the user.
func Home(uid uint32, open func() (io.ReadCloser, error)) (string, error) {
	file, err := open()
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	line, _, err := find(file, strconv.FormatUint(uint64(uid), 10), 2)
	home := field(line, 5)
	if !path.IsAbs(home) || strings.IndexByte(home, 0) >= 0 {
		home = ""
	}
	return home, errors.Join(err, file.Close())
}

// find returns the first line for word: its name or, if word is a number, its
// id, which is in the field idField, equals word.
func find(file io.Reader, word string, idField int) (line []string, ok bool, err error) {
	lines, err := readLines(file)
	want := 0
	if digits(word) {
		want = idField
	}
	for _, l := range lines {
		if field(l, want) == word {
			return l, true, err
		}
	}
	return nil, false, err
}

// readLines reads the lines of passwd(5) or group(5), split at colons:
//
//	www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
//	adm:x:4:syslog,ubuntu
func readLines(file io.Reader) ([][]string, error) {
	const longest = 64 << 10 // enough for a group with many members; an image must not fill our memory
	var lines [][]string
	s := bufio.NewScanner(file)
	s.Buffer(nil, longest)
	for s.Scan() {
		lines = append(lines, strings.Split(s.Text(), ":"))
	}
	return lines, s.Err()
}

func field(line []string, i int) string {
	if i < len(line) {
		return line[i]
	}
	return ""
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// number parses an id. The highest, 4294967295, is none: it means "no change" to
// the kernel.
func number(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || !digits(s) || n == 1<<32-1 {
		return 0, fmt.Errorf("id %q: want a number from 0 to 4294967294", s)
	}
	return uint32(n), nil
}

func groupID(groups [][]string, name string) (uint32, error) {
	if digits(name) {
		return number(name)
	}
	for _, g := range groups {
		if field(g, 0) == name {
			return number(field(g, 2))
		}
	}
	return 0, fmt.Errorf("group %q: no such group in the image's /etc/group", name)
}

// memberOf lists the groups that have a user as a member, without the user's own.
func memberOf(groups [][]string, user string, own uint32) []uint32 {
	var ids []uint32
	for _, g := range groups {
		if !slices.Contains(strings.Split(field(g, 3), ","), user) {
			continue
		}
		if id, err := number(field(g, 2)); err == nil && id != own {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
