package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Lookup finds a user as run -u and image configurations write it: "" (root),
// a name, a number, or either with ":" and a group. Names are looked up in
// passwd and group, which are hostile (they come from an image) and may be
// empty; what is all digits is a number, whatever passwd says. With a group
// given, the groups that passwd's user is a member of are left out.
//
// It returns the user, the additional groups in ascending order after the
// user's own, and the home directory: "" if passwd does not know. An unknown name, a number above
// 4294967294, or an empty half is an error.
func Lookup(user string, passwd, group io.Reader) (specs.User, string, error) {
	name, groupName, hasGroup := strings.Cut(user, ":")
	if user == "" {
		name = "0"
	}
	if name == "" || hasGroup && groupName == "" {
		return specs.User{}, "", fmt.Errorf("user %q: want USER or USER:GROUP", user)
	}
	entry, known, err := find(passwd, name, 2)
	if err != nil {
		return specs.User{}, "", fmt.Errorf("user %q: %w", user, err)
	}
	groups, err := readLines(group)
	if err != nil {
		return specs.User{}, "", fmt.Errorf("user %q: %w", user, err)
	}
	u := specs.User{}
	home := ""
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
	if err != nil {
		return specs.User{}, "", fmt.Errorf("user %q: %w", user, err)
	}
	// The user's own group is among them, too: a set-group-ID program gives up
	// the own group, and with it what files deny to that group (CVE-2022-36109).
	u.AdditionalGids = []uint32{u.GID}
	if known && !hasGroup {
		u.AdditionalGids = append(u.AdditionalGids, memberOf(groups, field(entry, 0), u.GID)...)
	}
	return u, home, nil
}

// find returns the first line whose name, or if word is a number whose id (in
// the given field), is word.
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
	const longest = 64 << 10 // a group may have many members; an image may have none of our memory
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

// number parses an id. The highest, 4294967295, means "no change" to the kernel.
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

// memberOf lists the groups that name a user as member, but for the user's own.
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
