package personality

import (
	"os"
	"testing"

	"minirun/examples/leftovers"
	"minirun/plan"
	"minirun/process/processtest"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestRefusals: what New does not take, and how it says so.
func TestRefusals(t *testing.T) {
	for want, s := range map[string]specs.LinuxPersonality{
		`linux.personality.domain "X": want LINUX or LINUX32`: {Domain: "X"},
		`linux.personality.flags ["X"]: no flags are defined`: {Domain: specs.PerLinux, Flags: []specs.LinuxPersonalityFlag{"X"}},
	} {
		if d, err := New(&s); err == nil || err.Error() != want || d != nil {
			t.Errorf("New(%v) = %v, %v; want %s", s, d, err, want)
		}
	}
}

// TestRecord: a process that takes itself for one of a 32-bit machine.
func TestRecord(t *testing.T) {
	processtest.NeedRoot(t)
	d, err := New(&specs.LinuxPersonality{Domain: specs.PerLinux32})
	if err != nil {
		t.Fatal(err)
	}
	if got := processtest.Text(t, plan.Child, d.Record); got != "  1 child   personality(8)\n" {
		t.Errorf("the steps are %q", got)
	}
	got, err := processtest.Run(t, plan.Clone{}, "uname -m", d.Record)
	if err != nil || got != "i686" && got != "armv8l" {
		t.Errorf("printed %q, %v; want i686 (or armv8l)", got, err)
	}
	none, err := New(nil)
	if got := processtest.Text(t, plan.Child, none.Record); got != "" || err != nil {
		t.Errorf("without a personality the steps are %q, %v", got, err)
	}
}

// TestMain fails a package that leaves something behind.
func TestMain(m *testing.M) { os.Exit(leftovers.Guard(m.Run)) }
