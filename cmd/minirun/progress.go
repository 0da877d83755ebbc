package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"minirun/rootfs/image"
)

// progress shows how far a load is: a bar that moves on a terminal, a line for
// each layer elsewhere.
func progress(w *os.File) func(image.Progress) {
	if !isTerminal(w) {
		return progressLines(w)
	}
	var last time.Time
	return func(p image.Progress) {
		if p.Step == image.Unpacked {
			fmt.Fprint(w, "\r\033[K")
		}
		if p.Step != image.Unpacking || time.Since(last) < 100*time.Millisecond {
			return
		}
		last = time.Now()
		fmt.Fprintf(w, "\r\033[K%s %s", layerName(p), bar(p))
		if p.Layer == "" && p.Total > 0 && p.Done >= p.Total {
			fmt.Fprint(w, "\r\033[K")
		}
	}
}

// progressLines prints a line for each layer. Several are unpacked at the same time.
func progressLines(w *os.File) func(image.Progress) {
	shown := map[image.Digest]bool{}
	return func(p image.Progress) {
		if p.Layer != "" && !shown[p.Layer] {
			shown[p.Layer] = true
			fmt.Fprintf(w, "%s: unpacking %s\n", layerName(p), units.HumanSize(float64(p.Total)))
		}
	}
}

func layerName(p image.Progress) string {
	if p.Layer == "" {
		return "reading"
	}
	return fmt.Sprintf("%.12s", p.Layer.Hex())
}

// bar is [=====>    ] 12MB/30MB, or only the bytes where the total is unknown.
func bar(p image.Progress) string {
	const width = 40
	if p.Total <= 0 {
		return units.HumanSize(float64(p.Done))
	}
	n := int(min(p.Done, p.Total) * width / p.Total)
	return fmt.Sprintf("[%-*s] %s/%s", width, strings.Repeat("=", n), units.HumanSize(float64(p.Done)), units.HumanSize(float64(p.Total)))
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// colour says whether standard output may have colours (https://no-color.org).
func colour() bool {
	return isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
