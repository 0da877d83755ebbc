package labels

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/process/processtest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestPlan: both labels; and without one nobody asks for a procfs.
func TestPlan(t *testing.T) {
	l := New(&specs.Process{ApparmorProfile: "docker-default", SelinuxLabel: "system_u:system_r:container_t:s0"})
	got := processtest.Text(t, plan.Child, func(p *plan.Plan) {
		l.Record(p, func(*plan.Plan) plan.FD { return plan.Inherited("procfs") })
		Labels{}.Record(p, nil)
	})
	const how = "{flags=O_WRONLY|O_CLOEXEC, resolve=RESOLVE_NO_XDEV|RESOLVE_NO_MAGICLINKS|RESOLVE_BENEATH}, 24)"
	const want = `# the AppArmor profile: it takes effect at execve
  1 child   openat2(<procfs>, "thread-self/attr/apparmor/exec", ` + how + ` = <AppArmor profile>  /* else the next, on ENOENT */
  2 child   openat2(<procfs>, "thread-self/attr/exec", ` + how + ` = <AppArmor profile>
  3 child   write(<AppArmor profile>, "exec docker-default", 19)
  4 child   write(<AppArmor profile>, "exec docker-default", 19)
# the SELinux label: it takes effect at execve
  5 child   openat2(<procfs>, "thread-self/attr/exec", ` + how + ` = <SELinux label>
  6 child   write(<SELinux label>, "system_u:system_r:container_t:s0", 32)
`
	if got != want {
		t.Errorf("the steps are\n%s\nwant\n%s", got, want)
	}
}

// TestLabel: without AppArmor and SELinux a label cannot be set, and that is an
// error; unconfined is what everybody is.
func TestLabel(t *testing.T) {
	processtest.NeedRoot(t)
	if list, _ := os.ReadFile("/sys/kernel/security/lsm"); bytes.Contains(list, []byte("apparmor")) || bytes.Contains(list, []byte("selinux")) {
		t.Skip("this kernel has AppArmor or SELinux")
	}
	for label, want := range map[string]error{"docker-default": unix.EINVAL, "unconfined": nil} {
		_, err := processtest.Run(t, plan.Clone{}, "true", func(p *plan.Plan) {
			New(&specs.Process{ApparmorProfile: label}).Record(p, func(p *plan.Plan) plan.FD {
				fs := p.Fsopen("proc")
				p.FsconfigCreate(fs)
				return p.Fsmount(fs, 0)
			})
		})
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", label, err, want)
		} else if words := "(the kernel does not run AppArmor)"; want != nil && !strings.HasSuffix(err.Error(), words) {
			t.Errorf("%s: %v, want %s at its end", label, err, words)
		}
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
