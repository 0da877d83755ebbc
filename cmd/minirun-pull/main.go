// Minirun-pull brings an image from a registry into minirun's store.
//
// It is a program of its own because Go's HTTP and TLS code costs every start of a program
// that links it a third more, whether it pulls or not. `minirun pull`, and `minirun run` of an
// image that is not there, execute it.
//
//	registries.go   the files that say which registries are asked, and how
//	registry.go     a registry as a source of blobs: names, credentials, ranges
//	guard.go        which addresses may be connected to, when without TLS, how long
//	                a server may be silent
//	show.go         progress: docker's lines, or bars on a terminal
//	trouble.go      what went wrong, in one line, and what to do
//
// What is done with the bytes is in rootfs/image/pull.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"minirun/cmd/report"
	"minirun/container/bundle"
	"minirun/rootfs/image"
)

func main() {
	if err := report.Descriptors(); err != nil {
		os.Exit(fail(err))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	r, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		out := &report.Output{To: os.Stdout}
		err = errors.Join(r.pull(ctx, out, bars(os.Stdout)), out.Err)
	}
	os.Exit(fail(err))
}

// A request is a command line.
type request struct {
	name      image.Reference
	tagged    bool // the user has written a tag or a digest
	store     string
	quiet     bool
	run       bool
	insecure  list
	durations durations
}

// A list is a flag that can be given several times.
type list []string

func (l *list) String() string     { return fmt.Sprint(*l) }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// parse reads the command line.
func parse(words []string) (*request, error) {
	r := &request{durations: usual}
	flags := flag.NewFlagSet("minirun-pull", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&r.store, "store", string(bundle.DefaultStore()), "`DIR` of images")
	flags.BoolVar(&r.quiet, "quiet", false, "print only the image's name")
	flags.BoolVar(&r.run, "run", false, "print what run prints of a pull: not the name")
	flags.Var(&r.insecure, "insecure-registry", "ask the registry `HOST[:PORT]` by plain HTTP, too")
	flags.Usage = func() {
		fmt.Println("minirun-pull [FLAG...] IMAGE: fetch an image from a registry. minirun pull is the same.")
		flags.SetOutput(os.Stdout)
		flags.PrintDefaults()
	}
	if err := flags.Parse(words); err != nil {
		return nil, err
	}
	if flags.NArg() != 1 {
		return nil, fmt.Errorf("pull: want one image")
	}
	var err error
	if r.name, err = image.ParseReference(flags.Arg(0)); err != nil {
		return nil, err
	}
	r.tagged = r.name.Repository() != flags.Arg(0) && r.name.Domain+"/"+r.name.Path != flags.Arg(0)
	return r, nil
}

// pull pulls, and prints what docker pull prints.
func (r *request) pull(ctx context.Context, out io.Writer, terminal bool) error {
	show := newShow(out, r.quiet, terminal)
	defer show.end()
	options := image.Options{Progress: show.progress}
	if os.Geteuid() != 0 {
		options.Ownership = image.Mine
	}
	store, err := image.Open(r.store, options)
	if err != nil {
		return err
	}
	if !r.tagged && !r.run {
		show.line("Using default tag: %s", r.name.Tag)
	}
	before, _ := store.Find(r.name.String()) // nil: there is none, or none that can be read
	from, d, err := r.resolve(ctx)
	if err != nil {
		return explain(err, r.name)
	}
	show.line("%s: Pulling from %s", tagOrDigest(r.name), r.name.Path)
	pulled, err := store.Pull(ctx, from, d, r.name)
	show.end()
	if err != nil {
		return explain(err, r.name)
	}
	show.line("Digest: %s", d.Digest)
	if before != nil && before.ID == pulled.ID {
		show.line("Status: Image is up to date for %s", r.name.Familiar())
	} else {
		show.line("Status: Downloaded newer image for %s", r.name.Familiar())
	}
	if !r.run {
		report.Printf(out, "%s\n", r.name)
	}
	return nil
}

func tagOrDigest(name image.Reference) string {
	if name.Digest != "" {
		return name.String()
	}
	return name.Tag
}

// resolve asks the registry, or first its mirrors, what the name stands for.
func (r *request) resolve(ctx context.Context) (*registry, image.Descriptor, error) {
	known, err := readRegistries()
	if err != nil {
		return nil, image.Descriptor{}, err
	}
	known.insecure = append(known.insecure, r.insecure...)
	places, err := known.places(r.name.Domain)
	if err != nil {
		return nil, image.Descriptor{}, err
	}
	var d image.Descriptor
	for _, host := range places {
		var from *registry
		if from, err = dial(ctx, host, r.name.Path, known, r.durations); err == nil {
			d, err = from.resolve(ctx, r.name)
		}
		if err == nil || ctx.Err() != nil {
			return from, d, err
		}
		err = asked{host, err}
	}
	return nil, d, err
}

// An asked error is one of the registry that was asked.
type asked struct {
	host string
	error
}

func (a asked) Unwrap() error { return a.error }

// fail prints an error and a hint, and returns the exit code.
func fail(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "minirun: pull: interrupted: the next pull goes on from here")
		return 130
	}
	fmt.Fprintf(os.Stderr, "minirun: %s\n", report.OneLine(err))
	if h := hint(err); h != "" {
		fmt.Fprintf(os.Stderr, "hint: %s\n", h)
	}
	return 1
}
