package systemd

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"minirun/cgroups"
)

// This file says in systemd's words what minirun says in the kernel's: cgroupsPath
// and the unit's name, a limit and the unit's property. It asks nobody; systemd.go
// does.

// A Unit is a scope of systemd's (systemd.scope(5)): a group of processes that
// another program has made and systemd only looks after.
type Unit struct {
	Name string // minirun-web.scope
	User bool   // the user's own systemd has it, not the host's

	slice       string     // the unit above: machine.slice
	id          string     // the container's
	annotations []property // what annotations ask for
	top         string     // directory of the group that Find found; "" before NewGroup
}

// New reads a cgroupsPath in systemd's form, slice:prefix:name, and the annotations
// that are properties of the unit. Parts that are empty get the defaults:
// system.slice (with a user's systemd: user.slice), minirun, and the container's
// id.
func New(cgroupsPath, id string, annotations map[string]string, user bool) (*Unit, error) {
	parts := []string{"", "", ""}
	if cgroupsPath != "" {
		parts = strings.Split(cgroupsPath, ":")
	}
	if len(parts) != 3 {
		return nil, fmt.Errorf("cgroup %q: want slice:prefix:name, since systemd is to make it", cgroupsPath)
	}
	defaults := []string{"system.slice", "minirun", id}
	if user {
		defaults[0] = "user.slice"
	}
	for i := range parts {
		parts[i] = cmp.Or(parts[i], defaults[i])
	}
	u := &Unit{Name: parts[1] + "-" + parts[2] + ".scope", User: user, slice: parts[0], id: id}
	if strings.HasSuffix(parts[2], ".slice") {
		return nil, fmt.Errorf("cgroup %q: %s is a slice, which has units below it and no processes: want the name of a scope", cgroupsPath, parts[2])
	}
	if !isUnitName(u.Name) {
		return nil, fmt.Errorf("unit %q: want at most 255 letters, digits, or :_.\\-", u.Name)
	}
	if _, err := expandSlice(u.slice); err != nil {
		return nil, err
	}
	var err error
	u.annotations, err = parseAnnotations(annotations)
	return u, err
}

// isUnitName says whether it is a name and no path (systemd.unit(5)).
func isUnitName(name string) bool {
	const others = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.\\-"
	return len(name) <= 255 && name != "" && strings.Trim(name, others) == "" && name[0] != '.'
}

// Path is the path of the unit's group below the group of its systemd.
func (u *Unit) Path() string {
	slice, _ := expandSlice(u.slice) // New has checked it
	return path.Join("/", slice, u.Name)
}

// expandSlice is the path of a slice. Its name says which slices are above it
// (systemd.slice(5)): the path of a-b.slice is a.slice/a-b.slice. The path of
// -.slice, the slice at the top, is empty.
func expandSlice(slice string) (string, error) {
	name, ok := strings.CutSuffix(slice, ".slice")
	if ok && name == "-" {
		return "", nil
	}
	if !ok || !isUnitName(slice) || slices.Contains(strings.Split(name, "-"), "") {
		return "", fmt.Errorf("slice %q: want the name of one, such as machine.slice or a-b.slice", slice)
	}
	var levels []string
	for i, c := range name {
		if c == '-' {
			levels = append(levels, name[:i]+".slice")
		}
	}
	return path.Join(append(levels, slice)...), nil
}

// A property is one setting of a unit: a name, and a string, a bool, a number or
// a list of these (org.freedesktop.systemd1(5)).
type property struct {
	Name  string
	Value any
}

func (p property) String() string {
	switch v := p.Value.(type) {
	case string:
		return fmt.Sprintf("%s=%q", p.Name, v)
	case uint64:
		if v == math.MaxUint64 {
			return p.Name + "=infinity"
		}
	}
	return fmt.Sprintf("%s=%v", p.Name, p.Value)
}

// properties describe a new scope for one process: what it is, and its limits.
func (u *Unit) properties(pid int, limits []cgroups.Write) []property {
	all := []property{
		{"Description", "minirun container " + u.id},
		{"Slice", u.slice},
		{"PIDs", []uint32{uint32(pid)}},
		{"Delegate", true},
		{"DefaultDependencies", false},
		{"CollectMode", "inactive-or-failed"}, // else a failed unit would stay until systemctl reset-failed
	}
	for _, what := range []string{"CPU", "Memory", "IO", "Tasks"} {
		all = append(all, property{what + "Accounting", true})
	}
	return merge(append(append(all, limitProperties(limits)...), u.annotations...))
}

// merge keeps the last property of each name, in the place of the first.
func merge(list []property) (all []property) {
	for _, p := range list {
		if i := slices.IndexFunc(all, func(q property) bool { return q.Name == p.Name }); i >= 0 {
			all[i] = p
		} else {
			all = append(all, p)
		}
	}
	return all
}

// sizes are the files with one number, or max, and their properties.
var sizes = []struct{ file, property string }{
	{"memory.max", "MemoryMax"},
	{"memory.high", "MemoryHigh"},
	{"memory.low", "MemoryLow"},
	{"memory.min", "MemoryMin"},
	{"memory.swap.max", "MemorySwapMax"},
	{"pids.max", "TasksMax"},
	{"cpu.weight", "CPUWeight"},
	{"io.weight", "IOWeight"},
}

// limitProperties are the limits as properties. systemd has no property for some of
// them (io.max of a device by its number, cpu.max.burst, hugetlb.*), and does not
// write their files either.
func limitProperties(limits []cgroups.Write) (all []property) {
	for _, w := range limits {
		for w.Else != nil {
			w = *w.Else
		}
		all = append(all, limitProperty(w)...)
	}
	return merge(all)
}

// limitProperty is one limit in systemd's words; nil if the kernel will refuse it.
func limitProperty(w cgroups.Write) []property {
	for _, s := range sizes {
		if s.file != w.File {
			continue
		}
		if n, ok := size(w.Value); ok {
			return []property{{s.property, n}}
		}
		return nil
	}
	switch {
	case w.File == "cpu.idle" && w.Value == "1":
		return []property{{"CPUWeight", uint64(0)}} // idle; systemd 252
	case w.File == "cpu.max":
		return quota(w.Value)
	case w.File == "cpuset.cpus":
		return bits("AllowedCPUs", w.Value)
	case w.File == "cpuset.mems":
		return bits("AllowedMemoryNodes", w.Value)
	}
	return nil
}

// size reads a number as the kernel does: max, or with a suffix such as 64M.
func size(text string) (uint64, bool) {
	text = strings.TrimSpace(text)
	if text == "max" {
		return math.MaxUint64, true
	}
	shift := 0
	for i, suffix := range []string{"k", "m", "g", "t"} {
		if number, ok := strings.CutSuffix(strings.ToLower(text), suffix); ok {
			shift, text = 10*(i+1), number
		}
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n << shift, err == nil && n<<shift>>shift == n
}

// quota converts cpu.max, "50000 100000": microseconds in each period. systemd has
// microseconds in each second. They are rounded up, because systemd rounds down when
// it converts them back; less than a hundredth of a second becomes a hundredth,
// because systemd would turn it into no limit when it is reloaded.
func quota(text string) []property {
	words := strings.Fields(text)
	if len(words) == 1 {
		words = append(words, "100000") // the kernel's default
	}
	if len(words) != 2 {
		return nil
	}
	limit, okLimit := size(words[0])
	period, okPeriod := size(words[1])
	if !okLimit || !okPeriod || limit == 0 || period == 0 || period > 1_000_000 {
		return nil
	}
	if limit != math.MaxUint64 {
		if limit > math.MaxUint64/2_000_000 {
			return nil
		}
		limit = max((limit*1_000_000+period-1)/period, 10_000)
	}
	return []property{{"CPUQuotaPerSecUSec", limit}, {"CPUQuotaPeriodUSec", period}}
}

// bits turns a list of numbers such as "0-3,7" into a property that has a bit for
// each number, the lowest in the first byte.
func bits(name, list string) []property {
	const most = 8192 // a kernel has no more processors
	var mask []byte
	for r := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		low, high, found := strings.Cut(r, "-")
		if !found {
			high = low
		}
		first, err := strconv.ParseUint(low, 10, 16)
		last, errLast := strconv.ParseUint(high, 10, 16)
		if errors.Join(err, errLast) != nil || first > last || last >= most {
			return nil
		}
		for i := first; i <= last; i++ {
			for uint64(len(mask)) <= i/8 {
				mask = append(mask, 0)
			}
			mask[i/8] |= 1 << (i % 8)
		}
	}
	return []property{{name, mask}}
}
