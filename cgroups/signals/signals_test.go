package signals

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minirun/cgroups"
	"minirun/examples/grouptest"
	"minirun/plan"
)

func TestMain(m *testing.M) { grouptest.Main(m) }

// names waits until the processes of a group have these names.
func names(t *testing.T, g *cgroups.Group, want string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(10 * time.Second); got != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("processes %q, want %q", got, want)
		}
		list, err := g.Procs()
		grouptest.Check(t, "Procs", err)
		var all []string
		for _, pid := range list {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			all = append(all, strings.TrimSpace(string(name)))
		}
		got = strings.Join(all, " ")
	}
}

func TestSend(t *testing.T) {
	g := grouptest.Real(t)
	p := grouptest.Start(t, g, nil, "/bin/sh", "-c", `trap "exit 7" TERM; sleep 1000 & sleep 1000 & wait`)
	names(t, g, "sh sleep sleep") // a shell that has not become sleep yet may lose it
	grouptest.Check(t, "Send", Send(g, unix.SIGTERM))
	if status, err := p.Wait(); status.ExitStatus() != 7 {
		t.Errorf("Wait() = %v, %v, want exit status 7", status, err)
	}
	names(t, g, "")
	grouptest.Check(t, "Send to nobody", Send(g, unix.SIGTERM))
}

// TestSendBelow: a process of a group that the container made in its own is
// signalled, too, and SIGKILL is the kernel's own kill.
func TestSendBelow(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			g := grouptest.Real(t)
			p := grouptest.Start(t, g, nil, "/bin/sleep", "1000")
			q := grouptest.Start(t, cgroups.Open(g.Dir+"/of/the/container"), nil, "/bin/sleep", "1000")
			names(t, g, "sleep sleep")
			grouptest.Check(t, "Send", Send(g, sig))
			for _, process := range []*plan.Process{p, q} {
				if status, err := process.Wait(); status.Signal() != sig {
					t.Errorf("Wait() = %v, %v, want %v", status, err, sig)
				}
			}
		})
	}
}

// TestStranger: the number in the list is another process's by the time that it is
// used. Here the list itself says so, and so says it for ever, which is an error.
func TestStranger(t *testing.T) {
	stranger := exec.Command("sleep", "1000")
	grouptest.Check(t, "start", stranger.Start())
	pid := stranger.Process.Pid
	list := fmt.Sprintf("web/cgroup.procs: 0\n%d", pid)
	g := grouptest.NewWorld(t, list).Group(t, "/web")
	err := Send(g, unix.SIGTERM)
	stranger.Process.Kill() // the first signal counts
	stranger.Wait()
	if status := stranger.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGKILL {
		t.Errorf("Send() = %v, and a process of no group was ended by %v", err, status.Signal())
	}
	if err == nil {
		t.Error("Send() = nil, though it signalled nobody")
	}
}

// TestOutside: of a group that is real, too, only its own processes are signalled.
func TestOutside(t *testing.T) {
	g := grouptest.Real(t)
	p := grouptest.Start(t, g, nil, "/bin/sleep", "1000")
	beside := cgroups.Open(g.Dir + "side") // its path begins with the group's
	defer beside.Destroy()
	q := grouptest.Start(t, beside, nil, "/bin/sleep", "1000")
	path, err := pathOf(g.Dir)
	grouptest.Check(t, "pathOf", err)
	for pid, want := range map[int]error{p.Pid: nil, q.Pid: errElsewhere, os.Getpid(): errElsewhere, 1 << 30: nil} {
		if err := send(pid, 0, func(pid int) (bool, error) { return isIn(pid, path) }); !errors.Is(err, want) {
			t.Errorf("send(%d) = %v, want %v", pid, err, want)
		}
	}
}
