package cgroups

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file is what minirun and systemd say of the same group in different
// words: cgroupsPath and the unit's name, a limit and the unit's property. It
// asks nobody; systemd.go does.
//
//	cgroupsPath  machine.slice:minirun:web
//	unit         minirun-web.scope, with Slice=machine.slice
//	directory    machine.slice/minirun-web.scope
//	memory.max   MemoryMax=, and so on (systemd.resource-control(5))
//
// Why tell systemd of limits that we write to the files ourselves? It owns the
// files too, and writes its own values when it is reloaded.

// A Unit is a scope of systemd's (systemd.scope(5)): a group of processes that
// others have made and systemd only looks after. It gets the group from systemd,
// by delegation: what is in it is ours.
type Unit struct {
	Name  string // minirun-web.scope
	Slice string // the unit above: machine.slice
	User  bool   // of the user's own systemd, not of the host's

	more []property // what annotations ask for
}

// NewUnit reads a cgroupsPath in systemd's form, slice:prefix:name. Empty is
// the usual: system.slice (a user's systemd: user.slice), minirun, and the
// container's id.
func NewUnit(cgroupsPath, id string, user bool) (*Unit, error) {
	parts := []string{"", "", ""}
	if cgroupsPath != "" {
		parts = strings.Split(cgroupsPath, ":")
	}
	if len(parts) != 3 {
		return nil, fmt.Errorf("cgroup %q: want slice:prefix:name, since systemd is to make it", cgroupsPath)
	}
	usual := []string{"system.slice", "minirun", id}
	if user {
		usual[0] = "user.slice"
	}
	for i := range parts {
		if parts[i] == "" {
			parts[i] = usual[i]
		}
	}
	u := &Unit{Name: parts[1] + "-" + parts[2] + ".scope", Slice: parts[0], User: user}
	if strings.HasSuffix(parts[2], ".slice") {
		return nil, fmt.Errorf("cgroup %q: %s is a slice, which has units below it and no processes: want the name of a scope", cgroupsPath, parts[2])
	}
	if !isUnitName(u.Name) {
		return nil, fmt.Errorf("unit %q: want at most 255 letters, digits, or :_.\\-", u.Name)
	}
	_, err := expandSlice(u.Slice)
	return u, err
}

// isUnitName says whether it is a name and no path (systemd.unit(5)).
func isUnitName(name string) bool {
	const others = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.\\-"
	return len(name) <= 255 && name != "" && strings.Trim(name, others) == "" && name[0] != '.'
}

// Path is the unit's group below that of its systemd.
func (u *Unit) Path() string {
	slice, _ := expandSlice(u.Slice) // NewUnit has looked
	return path.Join("/", slice, u.Name)
}

// expandSlice is the path of a slice, whose name says which slices are above it
// (systemd.slice(5)): that of a-b.slice is a.slice/a-b.slice, and that of
// -.slice, the one at the top, is empty.
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

// properties are those of a new scope for one process: what it is, and its limits.
func (u *Unit) properties(id string, pid int, list []write) []property {
	all := []property{
		{"Description", "minirun container " + id},
		{"Slice", u.Slice},
		{"PIDs", []uint32{uint32(pid)}},
		{"Delegate", true},
		{"DefaultDependencies", false},
		{"CollectMode", "inactive-or-failed"}, // no unit stays that only reset-failed removes
	}
	for _, what := range []string{"CPU", "Memory", "IO", "Tasks"} {
		all = append(all, property{what + "Accounting", true})
	}
	return merge(append(append(all, limits(list)...), u.more...))
}

// merge leaves the last of each name, in the place of the first.
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

// limits are the writes as properties. What systemd has none for (io.max of a
// device by its number, cpu.max.burst, hugetlb.*) it does not write either.
func limits(list []write) (all []property) {
	for _, w := range list {
		for w.Else != nil {
			w = *w.Else
		}
		all = append(all, w.properties()...)
	}
	return merge(all)
}

// properties is one write in systemd's words; none, if it is one that the
// kernel will refuse.
func (w write) properties() []property {
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
	if text == none {
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

// quota is cpu.max, "50000 100000": microseconds in each period. systemd has
// the microseconds in each second; rounded up, since it rounds down on its way
// back. Of less than a hundredth it would, when reloaded, make no limit.
func quota(text string) []property {
	words := strings.Fields(text)
	if len(words) == 1 {
		words = append(words, "100000") // as in the kernel, if nobody has said otherwise
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

// bits is a list of numbers such as "0-3,7" as a property: a bit for each, the
// lowest in the first byte.
func bits(name, list string) []property {
	const most = 8192 // processors that a kernel can have
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

// Annotations.

// Annotation begins the name of an annotation that is a property of the unit,
// such as
//
//	org.systemd.property.TimeoutStopUSec: "uint64 5000000"
const Annotation = "org.systemd.property."

// harmless are the properties that an annotation may set. Whoever starts a pod
// may write annotations, and with others could turn off the host
// (SuccessAction), stop its services (Conflicts), or leave its slice
// (CVE-2024-3154). Limits are for linux.resources.
var harmless = []struct{ name, signature string }{
	{"After", "as"},
	{"Before", "as"},
	{"CollectMode", "s"},
	{"DefaultDependencies", "b"},
	{"Description", "s"},
	{"Documentation", "as"},
	{"KillSignal", "i"},
	{"ManagedOOMMemoryPressure", "s"},
	{"ManagedOOMSwap", "s"},
	{"OOMPolicy", "s"},
	{"RuntimeMaxUSec", "t"},
	{"SendSIGHUP", "b"},
	{"TimeoutStopUSec", "t"},
}

// Annotate takes the properties that annotations ask for. A name may end with
// Sec instead of USec, its value being seconds then.
func (u *Unit) Annotate(annotations map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		name, ok := strings.CutPrefix(key, Annotation)
		if !ok {
			continue
		}
		p, err := asked(name, annotations[key])
		if err != nil {
			return fmt.Errorf("annotation %q: %w", key, err)
		}
		u.more = append(u.more, p)
	}
	return nil
}

// asked is one property that an annotation asks for. The value is in GVariant's
// text form, of which the type may be left out.
func asked(name, text string) (p property, err error) {
	of := valueOf
	if short, ok := strings.CutSuffix(name, "Sec"); ok && !strings.HasSuffix(short, "U") {
		name, of = short+"USec", seconds
	}
	for _, h := range harmless {
		if h.name != name {
			continue
		}
		value, err := of(h.signature, text)
		if err != nil {
			return p, fmt.Errorf("value %q: %w", text, err)
		}
		return property{name, value}, nil
	}
	return p, errors.New("a container may not set this property of its unit")
}

// valueOf reads a value in GVariant's text form: 5, uint64 5, true, 'text', or
// ['a.service', 'b.service'].
func valueOf(signature, text string) (value any, err error) {
	text = strings.TrimSpace(text)
	switch signature {
	case "b":
		if text != "true" && text != "false" {
			return nil, errors.New("want true or false")
		}
		return text == "true", nil
	case "i":
		n, err := strconv.ParseInt(untyped("int32", text), 10, 32)
		if err != nil {
			return nil, errors.New("want an int32")
		}
		return int32(n), nil
	case "t":
		n, err := strconv.ParseUint(untyped("uint64", text), 10, 64)
		if err != nil {
			return nil, errors.New("want a uint64")
		}
		return n, nil
	case "s":
		s, rest, err := quoted(text)
		if err == nil && rest != "" {
			err = fmt.Errorf("unexpected %q", rest)
		}
		return s, err
	}
	return texts(text) // as
}

// untyped takes the type away from a number.
func untyped(kind, text string) string {
	return strings.TrimSpace(strings.TrimPrefix(text, kind+" "))
}

// texts is a list of strings.
func texts(text string) ([]string, error) {
	text, isOpen := strings.CutPrefix(text, "[")
	text, isClosed := strings.CutSuffix(text, "]")
	if !isOpen || !isClosed {
		return nil, errors.New("want a list such as ['a', 'b']")
	}
	all := []string{}
	for text = strings.TrimSpace(text); text != ""; {
		s, rest, err := quoted(text)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
		more := strings.HasPrefix(rest, ",")
		text = strings.TrimSpace(strings.TrimPrefix(rest, ","))
		if more != (text != "") {
			return nil, fmt.Errorf("unexpected %q", rest)
		}
	}
	return all, nil
}

// quoted is a string in either kind of quotes, and what follows it. No property
// on our list needs a character that would have to be escaped.
func quoted(text string) (s, rest string, err error) {
	if text == "" || text[0] != '\'' && text[0] != '"' {
		return "", "", errors.New("want a string in quotes")
	}
	s, rest, found := strings.Cut(text[1:], text[:1])
	if !found || strings.ContainsFunc(s, func(r rune) bool { return r == '\\' || unicode.IsControl(r) }) || !utf8.ValidString(s) {
		return "", "", errors.New("want a string in quotes, without \\ and control characters")
	}
	return s, strings.TrimSpace(rest), nil
}

// seconds are microseconds on D-Bus, whole or not.
func seconds(_, text string) (any, error) {
	_, number, found := strings.Cut(strings.TrimSpace(text), " ") // uint64 5
	if !found {
		number = text
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(n >= 0 && n < 1e12) {
		return nil, errors.New("want a number of seconds")
	}
	return uint64(n * 1e6), nil
}
