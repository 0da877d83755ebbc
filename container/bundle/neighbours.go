package bundle

import (
	"cmp"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"minirun/rootfs/image/private"
)

// Containers on the bridge find each other by name, in /etc/hosts: there is no name server.
// Whenever one comes or is removed, a part of this file is written anew in all of them. It
// lies between two lines, and what is outside of it stays as the container has it:
//
//	# minirun: this container
//	10.88.0.2	3f0c9a1d2b44
//	# minirun: end
//	# minirun: containers on the bridge
//	10.88.0.2	web
//	10.88.0.3	db
//	# minirun: end
//
// What it cannot do: a container that ends by itself stays in the others' files until the next
// one comes or is removed, because its monitor writes no files; a program that reads the file
// while it is written may see half of a line; and one that has read it before knows the old
// addresses. A container that has spoilt its own file, or has made it longer than
// [longestEtc], finds nobody; the others are as before.

// The lines around the two parts.
const (
	ownPart   = "# minirun: this container\n"
	otherPart = "# minirun: containers on the bridge\n"
	endOfPart = "# minirun: end\n"
)

// An Address is the address of a container on the bridge, by its id; the zero value if it is
// on none.
type Address func(id string) netip.Addr

// Meet writes the names of the containers on the bridge into the /etc/hosts of each. starts is
// the one that is about to start, or nil; its file gets its host name, too. A lock keeps others
// from writing meanwhile; at is asked with the lock held, so that the last to write has the
// newest list.
func (s Store) Meet(at func() (Address, error), starts *Bundle) error {
	o, err := s.open()
	if err != nil || o.names == nil || o.containers == nil {
		return err
	}
	defer o.close()
	if err := o.containers.Lock(unix.LOCK_EX); err != nil {
		return err
	}
	defer o.containers.Lock(unix.LOCK_UN)
	address, err := at()
	if err != nil {
		return err
	}
	list, addresses, err := o.nameList(address)
	if err != nil {
		return err
	}
	for id, a := range addresses {
		own := ""
		if starts != nil && starts.ID == id {
			own = a.String() + "\t" + starts.Spec.Hostname + "\n"
		}
		// What a container has made of its own file is no error of anybody else's.
		err := o.changeHosts(id, func(text string) string {
			if own != "" {
				text = replacePart(text, ownPart, own)
			}
			return replacePart(text, otherPart, list)
		})
		if own != "" && err != nil {
			return err
		}
	}
	return nil
}

// nameList are the lines of the containers that have an address, by ascending address; and the
// addresses by the ids.
func (o *opened) nameList(address Address) (string, map[string]netip.Addr, error) {
	all, err := o.names.Readdirnames(-1)
	if err != nil {
		return "", nil, err
	}
	addresses := map[string]netip.Addr{}
	type entry struct {
		name    string
		address netip.Addr
	}
	var list []entry
	for _, name := range all {
		target, err := o.names.Readlink(name)
		if err != nil {
			continue // it has just gone
		}
		id := filepath.Base(target)
		a := address(id)
		if !a.IsValid() {
			continue
		}
		addresses[id] = a
		if checkHostname(name) == nil { // a name may have a + in it (take), a host's may not
			list = append(list, entry{name, a})
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Or(a.address.Compare(b.address), cmp.Compare(a.name, b.name)) })
	var text strings.Builder
	for _, e := range list {
		text.WriteString(e.address.String() + "\t" + e.name + "\n")
	}
	return text.String(), addresses, nil
}

// replacePart puts lines between the first line that is title and the next endOfPart, or at
// the end of the text.
func replacePart(text, title, lines string) string {
	part := title + lines + endOfPart
	before, rest, found := cutLine(text, title)
	if !found {
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return text + part
	}
	if _, after, found := cutLine(rest, endOfPart); found {
		rest = after
	}
	return before + part + rest
}

// cutLine cuts a text around the first line that is this one.
func cutLine(text, line string) (before, after string, found bool) {
	if after, ok := strings.CutPrefix(text, line); ok {
		return "", after, true
	}
	before, after, found = strings.Cut(text, "\n"+line)
	if found {
		before += "\n"
	}
	return before, after, found
}

// changeHosts changes the /etc/hosts of a container. The file is written in its place: the
// container has it mounted, and would keep the old one if a new one were renamed over it. It
// is the container's, so it is opened as hostile: no link is followed, and only a
// regular file of ours is read, up to a limit.
func (o *opened) changeHosts(id string, change func(string) string) error {
	dir, err := o.containers.Dir(id)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := dir.OpenFile("hosts", unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	old, err := private.ReadAll(f, longestEtc)
	if err != nil {
		return err
	}
	changed := change(string(old))
	if changed == string(old) || len(changed) > longestEtc {
		return nil
	}
	if _, err := f.WriteAt([]byte(changed), 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(changed)))
}
