// Package passwd looks users up in the passwd and group files of a container.
//
// The kernel knows users and groups by number only. Names are a convention of
// programs: passwd(5) and group(5) map them to numbers, and tell a user's home
// directory. In a container these are the image's own files, so they are hostile:
// long, contradictory, or full of traps. A line may be as long as the file, and of the
// file no more than 4 MiB is read. What is given as numbers does not depend on them.
//
// Man pages: [passwd(5)], [group(5)].
//
// [passwd(5)]: https://man7.org/linux/man-pages/man5/passwd.5.html
// [group(5)]: https://man7.org/linux/man-pages/man5/group.5.html
package passwd

import (
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
// An unknown name, a number above 4294967294, and an empty half are errors. A file
// that cannot be read, or has more than 4 MiB, is an error only if a name has to be
// looked up in it.
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
	entry, err := find(passwd, name)
	switch {
	case entry != "":
		if u.UID, err = number(Field(entry, 2)); err == nil {
			u.GID, err = number(Field(entry, 3))
		}
		home = Field(entry, 5)
	case digits(name):
		u.UID, err = number(name)
	case err == nil:
		err = errors.New("no such user in the image's /etc/passwd")
	}
	var others []uint32
	switch {
	case err != nil:
	case hasGroup:
		u.GID, err = groupID(group, groupName)
	case entry != "":
		if others, err = memberOf(group, Field(entry, 0), u.GID); digits(name) {
			err = nil
		}
	}
	// The user's own group is an additional one, too. Otherwise a set-group-ID
	// program would leave that group, and could open files whose mode denies them
	// to its members (CVE-2022-36109).
	u.AdditionalGids = append([]uint32{u.GID}, others...)
	return u, home, err
}

// Home is the home directory of a user, from the file that open opens: "" if the
// file does not exist, is too long, or has no absolute path for the user.
func Home(uid uint32, open func() (io.ReadCloser, error)) (string, error) {
	file, err := open()
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	line, err := find(file, strconv.FormatUint(uint64(uid), 10))
	if errors.Is(err, errTooLong) { // a container must not be able to refuse an exec
		err = nil
	}
	home := Field(line, 5)
	if !path.IsAbs(home) || strings.IndexByte(home, 0) >= 0 {
		home = ""
	}
	return home, errors.Join(err, file.Close())
}

// find returns the first line for word: its name or, if word is a number, its
// id, which is in field 2, equals word. It is "" if there is none.
func find(file io.Reader, word string) (string, error) {
	want := 0
	if digits(word) {
		want = 2
	}
	text, err := Read(file)
	for line := range strings.Lines(text) {
		if Field(line, want) == word {
			return line, nil
		}
	}
	return "", err
}

// longest is more than any honest file has.
const longest = 4 << 20

var errTooLong = errors.New("longer than 4 MiB")

// Read reads a file such as passwd(5), group(5) or subuid(5): lines with fields.
func Read(file io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(file, longest+1))
	if err == nil && len(text) > longest {
		err = errTooLong
	}
	if err != nil {
		return "", err
	}
	return string(text), nil
}

// Field is field i of a line, from 0 on; "" if the line has fewer:
//
//	www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
//	adm:x:4:syslog,ubuntu
func Field(line string, i int) string {
	line = strings.TrimRight(line, "\r\n")
	more := true
	for ; i > 0 && more; i-- {
		_, line, more = strings.Cut(line, ":")
	}
	if !more {
		return ""
	}
	line, _, _ = strings.Cut(line, ":")
	return line
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

func groupID(file io.Reader, name string) (uint32, error) {
	if digits(name) {
		return number(name)
	}
	line, err := find(file, name)
	if line == "" && err == nil {
		err = fmt.Errorf("group %q: no such group in the image's /etc/group", name)
	}
	if err != nil {
		return 0, err
	}
	return number(Field(line, 2))
}

// memberOf lists the groups that have a user as a member, without the user's own.
func memberOf(file io.Reader, user string, own uint32) (ids []uint32, err error) {
	text, err := Read(file)
	for line := range strings.Lines(text) {
		id, err := number(Field(line, 2))
		if err != nil || id == own {
			continue
		}
		for member := range strings.SplitSeq(Field(line, 3), ",") {
			if member == user {
				ids = append(ids, id)
				break
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), err
}
