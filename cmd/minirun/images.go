package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
	"minirun/container/bundle"
	"minirun/rootfs/image"
)

// images opens the store of images. While it works, it shows its progress.
func images(c *cli.Context) (*image.Store, error) {
	o := image.Options{Progress: progress(os.Stderr), Damaged: func(err error) { warn(err.Error() + ": " + removesImage) }}
	if os.Geteuid() != 0 {
		o.Ownership = image.Mine
	}
	return image.Open(c.String("store"), o)
}

func loadCommand() *cli.Command {
	return &cli.Command{
		Name:      "load",
		Usage:     "take images out of an archive or directory",
		ArgsUsage: "[FILE|DIR]",
		Description: "FILE is what docker save writes, or a tar of an OCI image layout; without one,\n" +
			"it is read from standard input. DIR is an OCI image layout. Examples:\n" +
			"   docker save httpd | minirun load\n" +
			"   minirun load -i httpd.tar",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "read `FILE` or directory"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Hidden: true}, // there is little to leave out
		},
		Action: func(c *cli.Context) error {
			s, err := images(c)
			if err != nil {
				return err
			}
			loaded, err := load(s, c.String("input")+c.Args().First())
			for _, img := range loaded {
				for _, name := range img.Loaded {
					report.Printf(c.App.Writer, "Loaded image: %s\n", name.Familiar())
				}
				if len(img.Loaded) == 0 {
					report.Printf(c.App.Writer, "Loaded image: %s\n", imageName(img))
				}
			}
			return unpacked(err, c.String("input")+c.Args().First(), "load")
		},
	}
}

func load(s *image.Store, path string) ([]*image.Image, error) {
	if path == "" || path == "-" {
		return s.Load(os.Stdin)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return s.LoadDirectory(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	loaded, err := s.Load(f)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	return loaded, nil
}

func importCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "make an image from a tar of a root file system",
		ArgsUsage: "FILE|- [NAME[:TAG]]",
		Description: "Example:\n" +
			"   minirun import --change 'CMD [\"sh\"]' rootfs.tar busybox",
		Flags:  []cli.Flag{&cli.StringSliceFlag{Name: "change", Aliases: []string{"c"}, Usage: "apply a Dockerfile `INSTRUCTION`: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR"}},
		Action: importImage,
	}
}

func importImage(c *cli.Context) error {
	if n := c.Args().Len(); n < 1 || n > 2 {
		return usage{errors.New("import: want a file and, if you like, a name")}
	}
	var name image.Reference
	var err error
	if word := c.Args().Get(1); word != "" {
		if name, err = image.ParseReference(word); err != nil {
			return err
		}
	}
	s, err := images(c)
	if err != nil {
		return err
	}
	var r io.Reader = os.Stdin
	if path := c.Args().First(); path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		r = f
	}
	img, err := s.Import(r, name, c.StringSlice("change")...)
	if err != nil {
		err = fmt.Errorf("import %s: %w", c.Args().First(), err)
		return unpacked(err, c.Args().First(), strings.TrimSpace("import - "+c.Args().Get(1)))
	}
	fmt.Fprintln(c.App.Writer, "sha256:"+img.ID.Hex())
	return nil
}

func imagesCommand() *cli.Command {
	return &cli.Command{
		Name:      "images",
		Usage:     "list images",
		ArgsUsage: "[NAME]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Hidden: true}, // all are always shown
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "ids only"},
			&cli.BoolFlag{Name: "no-trunc", Usage: "whole ids"},
			&cli.StringSliceFlag{Name: "filter", Aliases: []string{"f"}, Usage: "only those with `KEY=VALUE`: dangling=true (without a name), dangling=false, reference=NAME"},
			&cli.StringFlag{Name: "format", Usage: "table, json, or a Go `TEMPLATE`"},
		},
		Action: func(c *cli.Context) error {
			s, err := images(c)
			if err != nil {
				return err
			}
			list, err := s.List()
			if err != nil {
				return err
			}
			rows, err := filterImages(imageRows(list, c.Args().First(), c.Bool("no-trunc")), c.StringSlice("filter"))
			if err != nil {
				return err
			}
			return printImages(c, rows)
		},
	}
}

// An imageRow is an image under one of its names, as images prints it.
type imageRow struct {
	Repository, Tag, ID, CreatedSince, Size string
}

func imageRows(list []*image.Image, only string, whole bool) []imageRow {
	var rows []imageRow
	for _, img := range list {
		r := imageRow{Repository: "<none>", Tag: "<none>", ID: img.ID.Hex()[:12], CreatedSince: "N/A", Size: units.HumanSizeWithPrecision(float64(img.Size), 3)}
		if whole {
			r.ID = img.ID.String()
		}
		if img.Config.Created != nil {
			r.CreatedSince = units.HumanDuration(time.Since(*img.Config.Created)) + " ago"
		}
		for _, name := range img.Names {
			r.Repository, r.Tag = name.Repository(), name.Tag
			if only == "" || only == r.Repository || only == name.Familiar() {
				rows = append(rows, r)
			}
		}
		if len(img.Names) == 0 && only == "" {
			rows = append(rows, r)
		}
	}
	return rows
}

// filterImages keeps the rows that every filter matches.
func filterImages(rows []imageRow, filters []string) ([]imageRow, error) {
	for _, f := range filters {
		key, value, _ := strings.Cut(f, "=")
		dangling, err := strconv.ParseBool(value)
		if key != "reference" && (key != "dangling" || err != nil) {
			return nil, fmt.Errorf("filter %q: want dangling=true, dangling=false or reference=NAME", f)
		}
		rows = slices.DeleteFunc(rows, func(r imageRow) bool {
			if key == "dangling" {
				return (r.Repository == "<none>") != dangling
			}
			matches, err := path.Match(value, r.Repository+":"+r.Tag)
			return r.Repository != value && (!matches || err != nil)
		})
	}
	return rows, nil
}

func printImages(c *cli.Context, rows []imageRow) error {
	w, format := c.App.Writer, c.String("format")
	switch {
	case c.Bool("quiet"):
		for _, r := range rows {
			report.Printf(w, "%s\n", r.ID)
		}
		return nil
	case format == "json":
		return printJSON(w, rows)
	case format != "" && format != "table":
		return printTemplate(w, format, rows, imageRow{"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"})
	}
	t := table(w)
	fmt.Fprintln(t, "REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE")
	for _, r := range rows {
		report.Printf(t, "%s\t%s\t%s\t%s\t%s\n", r.Repository, r.Tag, r.ID, r.CreatedSince, r.Size)
	}
	return t.Flush()
}

func tagCommand() *cli.Command {
	return &cli.Command{
		Name:      "tag",
		Usage:     "give an image one more name",
		ArgsUsage: "IMAGE NAME[:TAG]",
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 2 {
				return usage{errors.New("tag: want an image, and its further name")}
			}
			name, err := image.ParseReference(c.Args().Get(1))
			if err != nil {
				return err
			}
			s, err := images(c)
			if err != nil {
				return err
			}
			return s.Tag(c.Args().First(), name)
		},
	}
}

func rmiCommand() *cli.Command {
	return &cli.Command{
		Name:      "rmi",
		Usage:     "remove images",
		ArgsUsage: "IMAGE...",
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Usage: "also the name of an image that containers are made from: they keep its layers"}},
		Action: func(c *cli.Context) error {
			s, err := images(c)
			if err != nil {
				return err
			}
			return each(c, func(word string) error {
				if err := free(c, s, word); err != nil && !c.Bool("force") {
					return fmt.Errorf("remove image %s: %w", word, err)
				}
				_, err := s.Remove(word, layersInUse(store(c)))
				return err
			})
		},
	}
}

// pruneCommand is docker's image prune. It has no name of one word in docker, so it is called
// by that: see sameAs.
func pruneCommand() *cli.Command {
	return &cli.Command{
		Name:        "prune",
		Usage:       "remove images without a name, and what unfinished pulls have left",
		Description: "Images that containers are made from stay. No container is removed. minirun image prune is the same.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Aliases: []string{"f"}, Hidden: true}, // nothing is asked
		},
		Action: func(c *cli.Context) error {
			s, err := images(c)
			if err != nil {
				return err
			}
			list, err := store(c).List()
			if err != nil {
				return err
			}
			used := map[string]bool{}
			for _, b := range list {
				used[b.Annotation(bundle.ImageID)] = true
			}
			removed, err := s.Prune(func(id image.Digest) bool { return used[id.Hex()] }, layersInUse(store(c)))
			for _, id := range removed.Deleted {
				report.Printf(c.App.Writer, "deleted: %s\n", id)
			}
			return err
		},
	}
}

// free is an error if a container is made from an image, and the image would lose its
// last name.
func free(c *cli.Context, s *image.Store, word string) error {
	img, err := s.Find(word)
	if err != nil || len(img.Names) > 1 {
		return nil // Remove says that it does not exist
	}
	list, err := store(c).List()
	for _, b := range list {
		if b.Annotation(bundle.ImageID) == img.ID.Hex() {
			return fmt.Errorf("container %s is made from it: remove that before, or the image with -f", b.Annotation(bundle.Name))
		}
	}
	return err
}

// layersInUse says of a layer whether a container is made of it. The containers are listed once,
// at the first question: [image.Store.Remove] asks when no other command makes one.
func layersInUse(s bundle.Store) func(image.Digest) bool {
	list := sync.OnceValues(s.List)
	return func(id image.Digest) bool {
		bundles, err := list()
		return err != nil || // after an error it is kept
			slices.ContainsFunc(bundles, func(b *bundle.Bundle) bool { return b.UsesLayer(id.Hex()) })
	}
}

func imageName(img *image.Image) string {
	if len(img.Names) > 0 {
		return img.Names[0].Familiar()
	}
	return "sha256:" + img.ID.Hex()
}
