package cgroups

import (
	"strings"
	"testing"
)

func TestGroup(t *testing.T) {
	for _, test := range []struct{ own, path, want string }{
		{"/user.slice/session-1.scope", "/a/b", "/m/a/b"},
		{"/user.slice/session-1.scope", "a/b", "/m/user.slice/a/b"},
		{"/", "a", "/m/a"},
		{"/user.slice/s", "/../../../etc", "/m/etc"},
		{"/user.slice/s", "../../../etc", "/m/user.slice/etc"},
		{"/user.slice/s", "/a/./b//../c/", "/m/a/c"},
		{"/", "/ünï cöde", "/m/ünï cöde"},
	} {
		h := &Hierarchy{Mount: "/m", Own: test.own}
		if g, err := h.Group(test.path); err != nil || g.Dir != test.want {
			t.Errorf("Group(%q) of %s = %v, %v, want %s", test.path, test.own, g, err, test.want)
		}
	}
	for _, path := range []string{"", "/", ".", "..", "/..", "a/..", "../"} {
		if g, err := (&Hierarchy{Mount: "/m", Own: "/x/y"}).Group(path); err == nil {
			t.Errorf("Group(%q) = %s, want an error", path, g.Dir)
		}
	}
}

func TestParsePath(t *testing.T) {
	for _, test := range []struct{ file, want string }{
		{"0::/\n", "/"},
		{"9:name=systemd:/\n4:memory:/jobs\n0::/user.slice/session-1.scope\n", "/user.slice/session-1.scope"},
		{"0::/a:b\n", "/a:b"},
		{"4:memory:/jobs\n", ""},
		{"", ""},
	} {
		got, ok := ParsePath(test.file)
		if got != test.want || ok != (test.want != "") {
			t.Errorf("ParsePath(%q) = %q, %v, want %q", test.file, got, ok, test.want)
		}
	}
}

const hybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 23 0:38 /kubepods/pod1 /run/of\040pod rw,relatime - cgroup2 cgroup2 rw
43 23 0:38 /../.. /outside rw,relatime - cgroup2 cgroup2 rw
`

func TestBelow(t *testing.T) {
	mounts, err := parseMounts(strings.NewReader(hybrid))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ mount, path, want string }{
		{"/sys/fs/cgroup/unified", "/a/b", "/a/b"},
		{"/sys/fs/cgroup/unified", "/", "/"},
		{"/run/of pod", "/kubepods/pod1/web", "/web"},
		{"/run/of pod", "/kubepods/pod1", "/"},
		{"/run/of pod", "/kubepods/pod2", ""},
		{"/run/of pod", "/../x", ""},
		{"/outside", "/x", ""},
	} {
		got, err := below(mounts, test.mount, test.path)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("below(%s, %s) = %q, %v, want %q", test.mount, test.path, got, err, test.want)
		}
	}
}

func TestV1Mount(t *testing.T) {
	mounts, err := parseMounts(strings.NewReader(hybrid))
	if err != nil {
		t.Fatal(err)
	}
	for controller, want := range map[string]string{"memory": "/sys/fs/cgroup/memory", "cpu": "/sys/fs/cgroup/cpu,cpuacct", "pids": ""} {
		if got := v1Mount(mounts, controller); got != want {
			t.Errorf("v1Mount(%s) = %q, want %q", controller, got, want)
		}
	}
}

// FuzzParse: the parsers of what the kernel prints survive anything.
func FuzzParse(f *testing.F) {
	f.Add("usage_usec 30\nnr_periods 5\n")
	f.Add("4:memory:/jobs\n0::/user.slice\n")
	f.Add(hybrid)
	f.Fuzz(func(t *testing.T, text string) {
		ParseFlatKeyed(text)
		ParsePath(text)
		parseMounts(strings.NewReader(text))
	})
}
