// Validation runs the validation suite of opencontainers/runtime-tools, the
// programs that say whether a runtime does what the runtime-spec wants, and
// counts their cases: passed, failed, or expected to fail for a reason.
//
//	go run . -runtime ../../minirun
//
// It is a module of its own, so that nothing of the suite enters minirun's. Each
// program of the suite runs in a sandbox (sandbox.go), most of them natively, in
// parallel; those that want cgroup controllers, or a root with all
// capabilities, on a kernel of our own (../kernel/run). The file cannot-pass
// names the cases that fail for a reason that is not minirun's, and the reason.
//
// A skipped case is one that the spec of the container does not ask for: no
// sysctl is set, no device has an owner.
//
// The exit code is 1 if a case failed that is not in that file.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
)

type options struct {
	runtime string
	only    string // names of programs, comma-separated; "" is all
	list    string // the file of those that cannot pass
	own     bool   // all on a kernel of our own
	verbose bool

	collect string // inside our own kernel: the folder of the built suite
}

func main() {
	var o options
	flag.StringVar(&o.runtime, "runtime", "../../minirun", "the `PROGRAM` to validate; runc and crun do as well")
	flag.StringVar(&o.only, "only", "", "run only these `PROGRAMS` of the suite, comma-separated")
	flag.StringVar(&o.list, "list", "cannot-pass", "the `FILE` of cases that are expected to fail, and why")
	flag.BoolVar(&o.own, "own", false, "run all programs on a kernel of our own")
	flag.BoolVar(&o.verbose, "v", false, "print what the programs print on standard error")
	flag.StringVar(&o.collect, "collect", "", "run the -only programs from `DIR` here and print what they did as JSON")
	flag.Parse()
	work := validate
	if os.Getenv(sandboxKey) != "" {
		work = inside
	} else if o.collect != "" {
		work = collect
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok, err := work(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "validation:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// validate builds the suite, runs it and reports. It says whether nothing
// failed that was not expected to.
func validate(ctx context.Context, o options) (bool, error) {
	if os.Geteuid() != 0 {
		return false, fmt.Errorf("needs root: the suite makes containers, and its sandboxes are mounts")
	}
	var err error
	if o.runtime, err = exec.LookPath(o.runtime); err != nil {
		return false, err
	}
	if o.runtime, err = filepath.Abs(o.runtime); err != nil {
		return false, err
	}
	reasons, err := readReasons(o.list)
	if err != nil {
		return false, err
	}
	dir, programs, err := build()
	if err != nil {
		return false, err
	}
	native, own := o.divide(programs)
	ran, err := runAll(ctx, o.runtime, dir, native)
	if err != nil {
		return false, err
	}
	if err := again(ctx, o.runtime, dir, ran, reasons); err != nil {
		return false, err
	}
	if goruntime.GOARCH != "amd64" && len(own) > 0 {
		fmt.Fprintf(os.Stderr, "validation: left out: %s: User-Mode Linux is for amd64 only\n", strings.Join(own, ", "))
	} else if len(own) > 0 {
		more, err := runOnOwnKernel(ctx, o.runtime, dir, own)
		if err != nil {
			return false, err
		}
		ran = append(ran, more...)
	}
	if o.verbose {
		for _, r := range ran {
			fmt.Fprintf(os.Stderr, "== %s\n%s", r.Program, r.Errors)
		}
	}
	return report(os.Stdout, ran, reasons, len(ran) == len(programs)), nil
}

// again runs once more, and alone, what has failed without being expected to:
// in some programs a hook and the container's program race each other, and on a
// busy machine the wrong one wins. Whoever fails three times was not unlucky.
func again(ctx context.Context, runtime, dir string, ran []run, reasons []reason) (err error) {
	for range 2 {
		for i, r := range ran {
			if bad := unexpected(r, reasons); len(bad) > 0 {
				fmt.Fprintf(os.Stderr, "validation: once more: %s%s\n", bad[0].name(), indent(bad[0].why))
				if ran[i], err = runOne(ctx, runtime, dir, r.Program); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// divide picks the programs that are wanted, and divides them: those for this
// kernel, and those for our own.
func (o options) divide(programs []string) (native, own []string) {
	for _, p := range programs {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+p+",") {
			continue
		}
		if o.own || needsOwnKernel(p) {
			own = append(own, p)
		} else {
			native = append(native, p)
		}
	}
	return native, own
}

// needsOwnKernel says whether a program wants cgroup controllers, which cgroup v1
// may hold here, or capabilities that root may lack here.
func needsOwnKernel(program string) bool {
	controller, ok := strings.CutPrefix(program, "linux_cgroups_")
	return ok && slices.Contains([]string{"blkio", "cpus", "memory", "pids"}, strings.TrimPrefix(controller, "relative_")) ||
		program == "delete_resources" || program == "process_capabilities"
}

// runOnOwnKernel runs programs in a Linux of our own, by this program there.
func runOnOwnKernel(ctx context.Context, runtime, dir string, programs []string) ([]run, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "../kernel/run", "--mem", "1G", "--timeout", "600", "--",
		self, "-collect", dir, "-runtime", runtime, "-only", strings.Join(programs, ","))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it cleans up
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("on a kernel of our own: %w", err)
	}
	var ran []run
	return ran, json.Unmarshal(output, &ran)
}

// collect is runOnOwnKernel's other side.
func collect(ctx context.Context, o options) (bool, error) {
	ran, err := runAll(ctx, o.runtime, o.collect, strings.Split(o.only, ","))
	if err != nil {
		return false, err
	}
	return true, json.NewEncoder(os.Stdout).Encode(ran)
}
