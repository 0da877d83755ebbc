package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// This file builds the suite and runs its programs.

const suite = "github.com/opencontainers/runtime-tools/"

// A run is what one program of the suite did.
type run struct {
	Program string
	Output  string // TAP, https://testanything.org
	Errors  string // standard error
	End     string // how it ended; "" is exit code 0
}

// build builds the suite from the module cache, in a folder that is kept: Go
// links again only what has changed. A program expects to find there, in its
// working folder, runtimetest, which it runs in containers, and the root file
// system for them.
func build() (dir string, programs []string, err error) {
	dir, err = cache()
	if err != nil {
		return "", nil, err
	}
	for _, pkg := range strings.Fields(output("go", "list", "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`, suite+"validation/...")) {
		programs = append(programs, path.Base(pkg))
	}
	if len(programs) == 0 {
		return "", nil, fmt.Errorf("go list %svalidation/...: no programs", suite)
	}
	cmd := exec.Command("go", "build", "-o", dir+"/", suite+"cmd/runtimetest", suite+"validation/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", nil, fmt.Errorf("go build: %w", err)
	}
	rootfs := strings.TrimSpace(output("env", "MINIRUN=", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "../busybox/build")) // finds no minirun to import it with
	return dir, programs, copyFile(rootfs, filepath.Join(dir, "rootfs-"+runtime.GOARCH+".tar.gz"))
}

// cache is where the built suite is kept.
func cache() (string, error) {
	user, err := os.UserCacheDir()
	dir := filepath.Join(cmp.Or(os.Getenv("MINIRUN_CACHE"), filepath.Join(user, "minirun")), "validation")
	if !filepath.IsAbs(dir) {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// output is what a command prints; "" if it fails, which it has then explained.
func output(name string, args ...string) string {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		fmt.Fprintf(os.Stderr, "validation: %s: %v\n", name, err)
		return ""
	}
	return string(text)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// runAll runs programs, several at a time: mostly they wait.
func runAll(ctx context.Context, runtimeProgram, dir string, programs []string) ([]run, error) {
	ran, errs := make([]run, len(programs)), make([]error, len(programs))
	var all sync.WaitGroup
	slots := make(chan bool, 3*runtime.NumCPU())
	for i, p := range programs {
		all.Go(func() {
			slots <- true
			ran[i], errs[i] = runOne(ctx, runtimeProgram, dir, p)
			<-slots
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", programs[i], err)
		}
	}
	return ran, nil
}

// runOne runs one program in a sandbox of its own.
func runOne(ctx context.Context, runtimeProgram, dir, program string) (r run, err error) {
	var stdout, stderr bytes.Buffer
	s := sandbox{dir: dir, command: filepath.Join(dir, program), runtime: runtimeProgram, stdout: &stdout, stderr: &stderr}
	end, err := s.run(ctx)
	return run{program, stdout.String(), stderr.String(), end}, err
}
