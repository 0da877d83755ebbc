package systemd

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"minirun/cgroups"
)

func TestNew(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, c := range []struct {
		path string
		user bool
		name string // "": refused
		dir  string
	}{
		{"", false, "minirun-web.scope", "/system.slice/minirun-web.scope"},
		{"", true, "minirun-web.scope", "/user.slice/minirun-web.scope"},
		{"::", false, "minirun-web.scope", "/system.slice/minirun-web.scope"},
		{"machine.slice:docker:4f2a", false, "docker-4f2a.scope", "/machine.slice/docker-4f2a.scope"},
		{"a-b-c.slice:cri-containerd:x", false, "cri-containerd-x.scope", "/a.slice/a-b.slice/a-b-c.slice/cri-containerd-x.scope"},
		{"-.slice:p:n", false, "p-n.scope", "/p-n.scope"},
		{"kubepods-burstable-pod1_2.slice::", false, "minirun-web.scope", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/minirun-web.scope"},
		{"/a/b", false, "", ""},
		{"a.slice:b", false, "", ""},
		{"a.slice:b:c:d", false, "", ""},
		{"a.slice:b:c.slice", false, "", ""}, // without processes
		{"a:b:c", false, "", ""},
		{".slice:b:c", false, "", ""},
		{"-a.slice:b:c", false, "", ""},
		{"a-.slice:b:c", false, "", ""},
		{"a--b.slice:b:c", false, "", ""},
		{"../a.slice:b:c", false, "", ""},
		{"a/b.slice:b:c", false, "", ""},
		{"a.slice:../../b:c", false, "", ""},
		{"a.slice:b:c/../../d", false, "", ""},
		{"a.slice:b:c d", false, "", ""},
		{"a.slice:.b:c", false, "", ""},
		{"a.slice:b:" + long, false, "", ""},
		{long + ".slice:b:c", false, "", ""},
	} {
		u, err := New(c.path, "web", nil, c.user)
		if (err == nil) != (c.name != "") {
			t.Errorf("New(%q) = %v, %v; want %q", c.path, u, err, c.name)
		}
		if err == nil && (u.Name != c.name || u.Path() != c.dir) {
			t.Errorf("New(%q) = %s in %s; want %s in %s", c.path, u.Name, u.Path(), c.name, c.dir)
		}
	}
}

func FuzzNew(f *testing.F) {
	for _, s := range []string{"", "::", "a-b.slice:c:d", "../x.slice:a:b", "-.slice::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := New(path, "web", nil, false)
		if err == nil && (strings.ContainsAny(u.Name+u.slice, "/\x00 ") || strings.Contains(u.Path(), "/..") || !strings.HasSuffix(u.Path(), "/"+u.Name)) {
			t.Errorf("New(%q) = %+v in %q", path, u, u.Path())
		}
	})
}

// TestLimits: what is written to the files, in systemd's words.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		file, value, want string
	}{
		{"memory.max", "67108864", "[MemoryMax=67108864]"},
		{"memory.max", "max", "[MemoryMax=infinity]"},
		{"memory.max", "64M", "[MemoryMax=67108864]"},
		{"memory.high", "1g", "[MemoryHigh=1073741824]"},
		{"memory.low", "4096", "[MemoryLow=4096]"},
		{"memory.min", "1k", "[MemoryMin=1024]"},
		{"memory.swap.max", "0", "[MemorySwapMax=0]"},
		{"memory.max", "99999999999T", "[]"},
		{"memory.max", "lots", "[]"},
		{"memory.max", "", "[]"},
		{"memory.oom.group", "1", "[]"},
		{"pids.max", "50", "[TasksMax=50]"},
		{"cpu.weight", "100", "[CPUWeight=100]"},
		{"cpu.idle", "1", "[CPUWeight=0]"},
		{"cpu.idle", "0", "[]"},
		{"cpu.max", "50000 100000", "[CPUQuotaPerSecUSec=500000 CPUQuotaPeriodUSec=100000]"},
		{"cpu.max", "1000 3000", "[CPUQuotaPerSecUSec=333334 CPUQuotaPeriodUSec=3000]"},
		{"cpu.max", "1000 1000000", "[CPUQuotaPerSecUSec=10000 CPUQuotaPeriodUSec=1000000]"},
		{"cpu.max", "max 100000", "[CPUQuotaPerSecUSec=infinity CPUQuotaPeriodUSec=100000]"},
		{"cpu.max", "20000", "[CPUQuotaPerSecUSec=200000 CPUQuotaPeriodUSec=100000]"},
		{"cpu.max", "18446744073709551614 1", "[]"},
		{"cpu.max", "1 0", "[]"},
		{"cpu.max", "", "[]"},
		{"cpu.max.burst", "10000", "[]"},
		{"cpuset.cpus", "0-3,7", "[AllowedCPUs=[143]]"},
		{"cpuset.cpus", "8", "[AllowedCPUs=[0 1]]"},
		{"cpuset.mems", "0", "[AllowedMemoryNodes=[1]]"},
		{"cpuset.cpus", "3-1", "[]"},
		{"cpuset.cpus", "0-60000", "[]"},
		{"cpuset.cpus", "", "[]"},
		{"io.weight", "500", "[IOWeight=500]"},
		{"io.weight", "8:0 500", "[]"},
		{"io.max", "8:0 rbps=1", "[]"},
		{"hugetlb.2MB.max", "0", "[]"},
	} {
		if got := fmt.Sprint(limitProperties([]cgroups.Write{{File: c.file, Value: c.value}})); got != c.want {
			t.Errorf("limitProperties(%s %q) = %s, want %s", c.file, c.value, got, c.want)
		}
	}
}

// TestQuotaBack: systemd makes the quota of the file from its own again, and
// rounds down: it has to be the same.
func TestQuotaBack(t *testing.T) {
	for quotaUsec := uint64(1000); quotaUsec < 2_000_000; quotaUsec += 777 {
		for period := uint64(1000); period <= 1_000_000; period += 31_337 {
			all := quota(fmt.Sprint(quotaUsec, " ", period))
			perSecond := all[0].Value.(uint64)
			if got := perSecond * period / 1_000_000; got != quotaUsec && perSecond != 10_000 {
				t.Fatalf("cpu.max %d %d: systemd makes %d of %d", quotaUsec, period, got, perSecond)
			}
		}
	}
}

// TestLimitsTogether: of what is said twice the last counts, for systemd as for the files.
func TestLimitsTogether(t *testing.T) {
	list := []cgroups.Write{
		{File: "memory.swap.max", Value: "2097152"}, {File: "memory.max", Value: "1048576"},
		{File: "io.bfq.weight", Value: "500", Else: &cgroups.Write{File: "io.weight", Value: "4950"}},
		{File: "memory.max", Value: "2M"}, {File: "pids.max", Value: "7"},
	}
	want := "[MemorySwapMax=2097152 MemoryMax=2097152 IOWeight=4950 TasksMax=7]"
	if got := fmt.Sprint(limitProperties(list)); got != want {
		t.Errorf("limitProperties(%v) = %s, want %s", list, got, want)
	}
}

func TestProperties(t *testing.T) {
	u, err := New("a-b.slice:box:one", "one", map[string]string{"org.systemd.property.Description": "'mine'", "other": "x"}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := `[Description="mine" Slice="a-b.slice" PIDs=[42] Delegate=true DefaultDependencies=false CollectMode="inactive-or-failed" ` +
		`CPUAccounting=true MemoryAccounting=true IOAccounting=true TasksAccounting=true TasksMax=5]`
	if got := fmt.Sprint(u.properties(42, []cgroups.Write{{File: "pids.max", Value: "5"}})); got != want {
		t.Errorf("properties = %s, want %s", got, want)
	}
}

func TestAnnotations(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       any // nil: refused
	}{
		{"TimeoutStopUSec", "uint64 5000000", uint64(5_000_000)},
		{"TimeoutStopUSec", "5000000", uint64(5_000_000)},
		{"TimeoutStopSec", "5", uint64(5_000_000)},
		{"TimeoutStopSec", "1.5", uint64(1_500_000)},
		{"TimeoutStopSec", "uint64 5", uint64(5_000_000)},
		{"CollectMode", "'inactive'", "inactive"},
		{"Description", `"it's"`, "it's"},
		{"DefaultDependencies", "true", true},
		{"DefaultDependencies", " false ", false},
		{"KillSignal", "int32 3", int32(3)},
		{"After", "['a.service', \"b.service\"]", []string{"a.service", "b.service"}},
		{"After", "[]", []string{}},

		{"TimeoutStopUSec", "-1", nil},
		{"TimeoutStopUSec", "soon", nil},
		{"TimeoutStopUSec", "", nil},
		{"TimeoutStopSec", "nan", nil},
		{"TimeoutStopSec", "-1", nil},
		{"TimeoutStopSec", "1e300", nil},
		{"Description", "mine", nil},
		{"Description", "'a' 'b'", nil},
		{"Description", "'a", nil},
		{"Description", "'a\nb'", nil},
		{"Description", "'a\\", nil},
		{"Description", "'\xff'", nil},
		{"After", "['a.service' 'b.service']", nil},
		{"After", "['a.service',]", nil},
		{"After", "['a.service'", nil},
		{"After", "a.service", nil},
		{"DefaultDependencies", "1", nil},

		// CVE-2024-3154 and its like: what would be the host's to say.
		{"SuccessAction", "'poweroff-force'", nil},
		{"FailureAction", "'reboot'", nil},
		{"JobTimeoutAction", "'poweroff-immediate'", nil},
		{"OnFailure", "['poweroff.target']", nil},
		{"Conflicts", "['sshd.service']", nil},
		{"Wants", "['a.service']", nil},
		{"ExecStartPre", "'/bin/sh'", nil},
		{"Slice", "'-.slice'", nil},
		{"PIDs", "[uint32 1]", nil},
		{"Delegate", "false", nil},
		{"DevicePolicy", "'auto'", nil},
		{"MemoryMax", "uint64 1", nil},
		{"User", "'root'", nil},
		{"", "true", nil},
		{"Sec", "1", nil},
		{"USec", "1", nil},
		{"timeoutstopusec", "1", nil},
	} {
		list, err := parseAnnotations(map[string]string{Annotation + c.name: c.text})
		switch {
		case (err == nil) != (c.want != nil):
			t.Errorf("parseAnnotations(%s: %s) = %v, %v; want %v", c.name, c.text, list, err, c.want)
		case err == nil && !reflect.DeepEqual(list[0].Value, c.want):
			t.Errorf("parseAnnotations(%s: %s) = %v, want %v", c.name, c.text, list[0], c.want)
		case err != nil && strings.ContainsAny(err.Error(), "\n\x00"):
			t.Errorf("parseAnnotations(%s: %s): %q is not one line", c.name, c.text, err)
		}
	}
}

func FuzzAnnotations(f *testing.F) {
	for _, s := range []string{"uint64 5", "'a'", "['a', \"b\"]", "true", "int32 -1", "1.5"} {
		for _, h := range harmless {
			f.Add(h.name, s)
		}
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		list, err := parseAnnotations(map[string]string{Annotation + name: text})
		if err != nil {
			return
		}
		p := toDBus(list)[0]
		if i := slices.IndexFunc(harmless, func(h struct{ name, signature string }) bool { return h.name == p.Name }); i < 0 || harmless[i].signature != p.Value.Signature().String() {
			t.Errorf("parseAnnotations(%q: %q) = %v, which is not what systemd takes", name, text, p)
		}
	})
}
