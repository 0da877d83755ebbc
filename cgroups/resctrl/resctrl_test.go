package resctrl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"minirun/cgroups/owner"
	"minirun/plan"
)

// fakeResctrl is a directory with the class "gold" in it, as the kernel prints it.
func fakeResctrl(t *testing.T) string {
	mount := t.TempDir()
	for _, dir := range []string{"gold/mon_groups", "mon_groups"} {
		if err := os.MkdirAll(filepath.Join(mount, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range map[string]string{"gold/schemata": "    L3:0=07f0;1=001f\n    MB:0= 20;1= 70\n", "schemata": "    L3:0=07ff;1=07ff\n    MB:0=100;1=100\n"} {
		if err := os.WriteFile(filepath.Join(mount, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return mount
}

func found(mount string) func() (string, error) { return func() (string, error) { return mount, nil } }

// TestNew: the rules of runtime-spec, and the calls that come of them; or why not.
func TestNew(t *testing.T) {
	mount := fakeResctrl(t)
	for name, c := range map[string]struct {
		rdt  specs.LinuxIntelRdt
		want string
	}{
		"of its own":          {specs.LinuxIntelRdt{}, "mkdirat box; setxattr box; openat box/tasks"},
		"of its own, counted": {specs.LinuxIntelRdt{EnableMonitoring: true}, "mkdirat box; setxattr box; mkdirat box/mon_groups/box; setxattr box/mon_groups/box; openat box/tasks; openat box/mon_groups/box/tasks"},
		"with shares": {specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f", MemBwSchema: "MB:0=20", Schemata: []string{"L2:0=3"}},
			"mkdirat box; setxattr box; openat box/schemata; write L3:0=f; close; openat box/schemata; write MB:0=20; close; openat box/schemata; write L2:0=3; close; openat box/tasks"},
		"a new one by name":         {specs.LinuxIntelRdt{ClosID: "tin", Schemata: []string{"L3:0=f"}}, "mkdirat tin; openat tin/schemata; write L3:0=f; close; openat tin/tasks"},
		"one that is there":         {specs.LinuxIntelRdt{ClosID: "gold"}, "openat gold/tasks"},
		"one that is there, alike":  {specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:1=1F;0=7f0", MemBwSchema: "MB:0=20"}, "openat gold/tasks"},
		"one that is there, not so": {specs.LinuxIntelRdt{ClosID: "gold", MemBwSchema: "MB:0=30"}, `gold exists, and has not "MB:0=30" but`},
		"of another kind":           {specs.LinuxIntelRdt{ClosID: "gold", Schemata: []string{"L2:0=3"}}, `gold exists, and has not "L2:0=3" but`},
		"one that is not there":     {specs.LinuxIntelRdt{ClosID: "tin"}, "tin: no such class"},
		"the one all begin in":      {specs.LinuxIntelRdt{ClosID: "/", EnableMonitoring: true}, "mkdirat mon_groups/box; setxattr mon_groups/box; openat tasks; openat mon_groups/box/tasks"},
		"a path":                    {specs.LinuxIntelRdt{ClosID: "../x", Schemata: []string{"L3:0=f"}}, `closID "../x": want the name of a directory`},
		"a directory of resctrl's":  {specs.LinuxIntelRdt{ClosID: "info"}, `closID "info": want the name of a directory`},
		"two lines in one":          {specs.LinuxIntelRdt{Schemata: []string{"L3:0=f\nMB:0=20"}}, "want one line"},
	} {
		t.Run(name, func(t *testing.T) {
			class, err := New(&c.rdt, "box", found(mount))
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("New(%+v) = %v, want %s", c.rdt, err, c.want)
				}
				return
			}
			p := &plan.Plan{}
			p.On(plan.Runtime)
			class.Add(p, owner.Mark("mine"))
			var calls []string
			for _, s := range p.Steps {
				call := s.Call
				for _, a := range s.Args {
					switch a := a.(type) {
					case plan.String:
						if path, ok := strings.CutPrefix(string(a), mount+"/"); ok {
							call += " " + path
						}
					case *plan.Memory:
						call += " " + strings.TrimSuffix(string(a.Bytes), "\n")
					}
				}
				calls = append(calls, call)
			}
			if got := strings.Join(calls, "; "); got != c.want {
				t.Errorf("Add(%+v) = %s, want %s", c.rdt, got, c.want)
			}
		})
	}
	if err := os.Mkdir(filepath.Join(mount, "box"), 0o755); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(mount, "box/schemata"), nil, 0o644)
	if _, err := New(&specs.LinuxIntelRdt{}, "box", found(mount)); err == nil || !strings.Contains(err.Error(), "box: file exists") {
		t.Errorf("New(of its own, but there is one) = %v, want that it exists", err)
	}
}

// TestRemoveClass: only what was made for the container alone goes with it, and has its
// mark still. If create was killed early there may be no mark.
func TestRemoveClass(t *testing.T) {
	for name, test := range map[string]struct {
		marks  string // which the directories have
		unborn bool
		goes   bool
	}{
		"its own":                  {"mine", false, true},
		"made anew for another":    {"another's", false, false},
		"made anew by somebody":    {"", false, false},
		"create was killed":        {"mine", true, true},
		"create was killed early":  {"", true, true},
		"the same, then another's": {"another's", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			mount := fakeResctrl(t)
			own, counted := filepath.Join(mount, "box"), filepath.Join(mount, "gold/mon_groups/box")
			for _, dir := range []string{own, counted} {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				if test.marks == "" {
					continue
				}
				if err := unix.Setxattr(dir, "user.minirun", []byte(test.marks), 0); err != nil {
					t.Skipf("%s: %v: needs a file system with user.* attributes", dir, err)
				}
			}
			var none *Class
			for _, c := range []*Class{{Dir: own, Own: true}, {Dir: filepath.Join(mount, "gold"), Monitor: counted}, {Dir: own, Own: true}, none} {
				if err := c.Remove(owner.Mark("mine"), test.unborn); err != nil {
					t.Errorf("Remove(%+v) = %v", c, err)
				}
			}
			for path, want := range map[string]bool{own: !test.goes, counted: !test.goes, filepath.Join(mount, "gold"): true} {
				if _, err := os.Stat(path); (err == nil) != want {
					t.Errorf("after Remove, %s: %v, want there: %t", path, err, want)
				}
			}
			there, err := (&Class{Dir: own, Own: true}).there(owner.Mark("mine"))
			if there || err != nil {
				t.Errorf("there(mine) = %t, %v", there, err)
			}
		})
	}
}

// TestUpdateClass: the lines go to the class, in their order; without one there
// is an error, unless nothing is to be changed.
func TestUpdateClass(t *testing.T) {
	mount := fakeResctrl(t)
	c := &Class{Dir: filepath.Join(mount, "gold")}
	p := &plan.Plan{}
	err := c.Update(p, []string{"L3:0=f"}, owner.Mark(""))
	if _, startErr := p.Start(plan.Options{}); err != nil || startErr != nil {
		t.Error(err, startErr)
	}
	if err := c.Update(p, []string{"L3:0=f\nMB:0=20"}, owner.Mark("")); err == nil {
		t.Error("Update with two lines in one: want an error")
	}
	if got, _ := os.ReadFile(filepath.Join(c.Dir, "schemata")); !strings.HasPrefix(string(got), "L3:0=f\n") {
		t.Errorf("schemata = %q", got)
	}
	var none *Class
	if none.Update(p, nil, owner.Mark("")) != nil || none.Update(p, []string{"L3:0=f"}, owner.Mark("")) == nil {
		t.Error("Update of no class: want an error if there is something to change, and none else")
	}
}
