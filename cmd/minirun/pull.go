package main

// Fetching images is the work of minirun-pull, a program of its own (see its main.go for why).

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"minirun/cmd/report"
	"minirun/rootfs/image"
)

func pullCommand() *cli.Command {
	return &cli.Command{
		Name:      "pull",
		Usage:     "fetch an image from a registry",
		ArgsUsage: "NAME[:TAG|@DIGEST]",
		Description: "The name is docker's: httpd is docker.io/library/httpd:latest. Names and passwords are those\n" +
			"that docker login, or podman login, has written down. /etc/minirun/registries and\n" +
			"~/.config/minirun/registries name mirrors, insecure registries, and those that are allowed.\n" +
			"Examples:\n" +
			"   minirun pull httpd\n" +
			"   minirun pull localhost:5000/me/tool:1.2\n" +
			"   minirun pull httpd@sha256:0123...",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only the image's name"},
			&cli.StringSliceFlag{Name: "insecure-registry", Usage: "ask the registry `HOST[:PORT]` without TLS, too"},
			&cli.StringFlag{Name: "platform", Usage: "the machine's `OS/ARCHITECTURE`, and no other", Hidden: true},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return usage{errors.New("pull: want one image")}
			}
			if err := checkPlatform(c.String("platform")); err != nil {
				return err
			}
			return becomeProgram(pullProgram, pullWords(c)...)
		},
	}
}

// checkPlatform refuses any platform but this machine's.
func checkPlatform(platform string) error {
	if own := "linux/" + runtime.GOARCH; platform != "" && platform != own {
		return fmt.Errorf("--platform %q: this machine runs %s", platform, own)
	}
	return nil
}

// pullWords is the command line of minirun-pull.
func pullWords(c *cli.Context, more ...string) []string {
	words := append([]string{"--store", c.String("store")}, more...)
	if c.Bool("quiet") {
		words = append(words, "--quiet")
	}
	for _, host := range c.StringSlice("insecure-registry") {
		words = append(words, "--insecure-registry", host)
	}
	return append(words, "--", c.Args().First())
}

// pullForRun fetches the image that run is to run. What docker pull prints on standard output
// goes to standard error: standard output is the program's. minirun-pull, which ends when we
// are killed, has printed why if it fails.
func pullForRun(c *cli.Context) error {
	path, err := pullProgram.find()
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the signal comes when the thread that has cloned it ends
	defer runtime.UnlockOSThread()
	cmd := exec.Command(path, pullWords(c, "--run")...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGTERM}
	if err := cmd.Run(); cmd.ProcessState != nil && err != nil {
		if code := cmd.ProcessState.ExitCode(); code > 128 {
			return report.Exit(code) // interrupted
		}
		return report.Exit(125)
	} else if err != nil {
		return fmt.Errorf("execute %s: %w", path, err)
	}
	return nil
}

// familiar is a name as docker writes it: with its tag.
func familiar(name string) string {
	r, err := image.ParseReference(name)
	if err != nil {
		return name
	}
	return r.Familiar()
}
