package main

// What is seen of a pull: docker's lines, which programs read, or on a terminal a bar for
// each layer.

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/docker/go-units"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"

	"minirun/cmd/report"
	"minirun/rootfs/image"
)

// words are docker's for the steps.
var words = map[image.Step]string{
	image.Listed: "Pulling fs layer", image.Exists: "Already exists", image.Waiting: "Waiting", image.Fetching: "Downloading",
	image.Interrupted: "Retrying", image.Fetched: "Download complete", image.Unpacking: "Extracting", image.Unpacked: "Pull complete",
}

// A show shows a pull.
type show struct {
	out   io.Writer
	quiet bool
	bars  *mpb.Progress // nil: lines

	mu     sync.Mutex
	layers map[image.Digest]*layer
	ended  bool
}

// A layer is what was shown last.
type layer struct {
	bar   *mpb.Bar
	state image.Progress
	total int64
}

// bars says whether a file is a terminal that can move its cursor.
func bars(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil && os.Getenv("TERM") != "dumb"
}

func newShow(out io.Writer, quiet, terminal bool) *show {
	s := &show{out: out, quiet: quiet, layers: map[image.Digest]*layer{}}
	if terminal && !quiet {
		s.bars = mpb.New(mpb.WithOutput(os.Stdout), mpb.WithWidth(60), mpb.WithRefreshRate(100*time.Millisecond), mpb.WithAutoRefresh())
	}
	return s
}

// line prints a line, unless less is wanted.
func (s *show) line(format string, arguments ...any) {
	if !s.quiet {
		report.Printf(s.out, format+"\n", arguments...)
	}
}

// progress shows what the store tells.
func (s *show) progress(p image.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.layers[p.Layer]
	if l == nil {
		if p.Step != image.Listed && p.Step != image.Exists {
			return // of what was not announced: the layers of an image that is known
		}
		l = &layer{state: image.Progress{Step: -1}, total: p.Total}
		s.layers[p.Layer] = l
		if s.bars != nil && !s.ended {
			l.bar = s.bar(p)
		}
	}
	l.show(s, p)
}

// show shows one layer.
func (l *layer) show(s *show, p image.Progress) {
	last := l.state.Step
	if last == image.Exists || last == image.Unpacked {
		return
	}
	l.state = p
	switch {
	case l.bar == nil && p.Step != last && p.Step != image.Fetching && p.Step != image.Unpacking && p.Step != image.Waiting:
		s.line("%.12s: %s", p.Layer.Hex(), words[p.Step])
	case l.bar == nil:
	case p.Step == image.Exists, p.Step == image.Unpacked:
		l.bar.SetTotal(max(l.total, 1), true)
	default:
		l.bar.SetCurrent(min(p.Done, max(l.total, 1)-1)) // one less: a bar that is full is finished
	}
}

// bar makes the bar of a layer.
func (s *show) bar(p image.Progress) *mpb.Bar {
	state := func() image.Progress {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.layers[p.Layer].state
	}
	return s.bars.New(max(p.Total, 1), mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string {
			return p.Layer.Hex()[:12] + ": " + words[state().Step]
		}, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			now := state()
			switch now.Step {
			case image.Fetching, image.Unpacking, image.Interrupted:
				return units.HumanSize(float64(now.Done)) + "/" + units.HumanSize(float64(now.Total))
			}
			return ""
		})))
}

// end waits until the bars have been drawn for the last time.
func (s *show) end() {
	s.mu.Lock()
	var open []*mpb.Bar
	for _, l := range s.layers {
		if l.bar != nil && !s.ended {
			open = append(open, l.bar)
		}
	}
	s.ended = true
	s.mu.Unlock()
	for _, bar := range open {
		bar.Abort(false) // of one that is finished it is nothing
	}
	if s.bars != nil {
		s.bars.Wait()
	}
}
