package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// This file draws the picture: for each operation a group of horizontal bars,
// one per candidate, as long as the median, with a whisker from the 10th to
// the 90th percentile, on an axis of the group's own that starts at 0.
//
//	run /bin/true                                   median   × crun
//	      minirunc  ██████▌─┤                        7.1 ms     0.67
//	         crun  █████████████─┤                 10.5 ms     1.00
//	               0     5    10    15 ms

// Sizes in pixels.
const (
	width      = 860
	barsAt     = 140 // where the bars start
	barsEnd    = 660
	medianAt   = 755 // right edges of the two columns of numbers
	ratioAt    = 840
	rowHeight  = 24
	barHeight  = 14
	headHeight = 34
	axisHeight = 22
	groupGap   = 20
	headerArea = 60
	footerArea = 34
)

// style gives everything a colour that can be read on white and on black, and
// a better one where the viewer says which of the two it is.
const style = `<style>
 text { font: 13px system-ui, sans-serif; fill: #57606a }
 .head { font-weight: 600; fill: #24292f }
 .title { font-size: 16px; font-weight: 600; fill: #24292f }
 .small { font-size: 11px }
 .right { text-anchor: end }
 .middle { text-anchor: middle }
 .ours { font-weight: 600; fill: #1f6feb }
 .bar { fill: #8c959f }
 .bar.ours { fill: #1f6feb }
 .bar.bound { fill: #8c959f; fill-opacity: .45 }
 .whisker { stroke: #424a53; stroke-width: 1.5; fill: none }
 .axis { stroke: #8c959f; stroke-opacity: .35 }
 .budget { stroke: #d1242f; stroke-width: 2 }
 @media (prefers-color-scheme: dark) {
  text { fill: #9198a1 }
  .head, .title { fill: #f0f6fc }
  text.ours { fill: #58a6ff }
  .bar.ours { fill: #388bfd }
  .bar { fill: #6e7681 }
  .whisker { stroke: #d1d9e0 }
  .budget { stroke: #ff7b72 }
 }
</style>
`

// A canvas collects SVG elements from top to bottom.
type canvas struct {
	strings.Builder
	y float64 // top of what comes next
}

func (c *canvas) text(class string, x, y float64, format string, args ...any) {
	fmt.Fprintf(c, `<text class="%s" x="%.1f" y="%.1f">%s</text>`+"\n", class, x, y, html.EscapeString(fmt.Sprintf(format, args...)))
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(c, `<path class="%s" d="M%.1f %.1fL%.1f %.1f"/>`+"\n", class, x1, y1, x2, y2)
}

func (c *canvas) bar(class string, x1, x2 float64) {
	fmt.Fprintf(c, `<rect class="bar %s" x="%.1f" y="%.1f" width="%.1f" height="%d" rx="2"/>`+"\n", class, x1, c.y+(rowHeight-barHeight)/2, x2-x1, barHeight)
}

// plot draws a report.
func plot(r *report) string {
	c := &canvas{y: headerArea}
	for _, op := range r.Operations {
		if s := newScale(op); s.most > 0 && op.Cache == r.Operations[0].Cache {
			c.group(op, s)
		}
	}
	c.text("small", 20, c.y+8, "Bars: medians of %d interleaved rounds; whiskers: 10th to 90th percentile.", r.Rounds)
	c.text("small", 20, c.y+24, "Red: what minirunc may take at most. Paler: not runtimes, but what a runtime can be measured against.")
	height := c.y + footerArea
	var all strings.Builder
	fmt.Fprintf(&all, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %d %.0f" role="img">`+"\n", width, height, width, height)
	all.WriteString("<title>How long minirunc and others take</title>\n" + style)
	fmt.Fprintf(&all, `<text class="title" x="20" y="28">Time per operation</text>`+"\n")
	fmt.Fprintf(&all, `<text class="small" x="20" y="46">%s</text>`+"\n", html.EscapeString(caption(r.Machine)))
	all.WriteString(c.String() + "</svg>\n")
	return all.String()
}

// caption says what was measured, and on what.
func caption(d description) string {
	words := []string{fmt.Sprintf("Linux %s, %d CPUs", d.Kernel, d.CPUs)}
	for _, name := range []string{crun, runc, bwrap} {
		if v := d.Versions[name]; !strings.HasPrefix(v, "not measured") {
			words = append(words, strings.Replace(v, " version", "", 1))
		}
	}
	return strings.Join(words, " · ")
}

// A scale turns µs into pixels.
type scale struct {
	most float64 // µs at the right end of the bars; 0: nothing was measured
	step float64 // between ticks
}

// newScale fits the longest whisker of an operation.
func newScale(op result) (s scale) {
	for _, row := range op.Rows {
		if len(row.Usec) > 0 {
			s.most = max(s.most, quantile(row.Usec, 0.9))
		}
	}
	s.step = niceStep(s.most)
	return s
}

func (s scale) x(usec float64) float64 { return barsAt + usec/s.most*(barsEnd-barsAt) }

// niceStep divides most into at most 5 steps of 1, 2 or 5 times a power of ten.
func niceStep(most float64) float64 {
	if most <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(most/5)))
	for _, digit := range []float64{1, 2, 5} {
		if digit*power*5 >= most {
			return digit * power
		}
	}
	return 10 * power
}

// group draws one operation.
func (c *canvas) group(op result, s scale) {
	c.text("head", 20, c.y+18, "%s", op.Title)
	c.text("small right", medianAt, c.y+18, "median")
	if crun := op.median(crun); !math.IsNaN(crun) {
		c.text("small right", ratioAt, c.y+18, "× crun")
	}
	c.y += headHeight - 6
	top := c.y
	rows := 0
	for _, row := range op.Rows {
		if len(row.Usec) > 0 {
			rows++
		}
	}
	c.axis(s, top, top+float64(rows*rowHeight))
	for _, row := range op.Rows {
		if len(row.Usec) > 0 {
			c.row(op, row, s)
		}
	}
	c.y += axisHeight + groupGap
}

// axis draws the ticks from top to bottom, behind the bars.
func (c *canvas) axis(s scale, top, bottom float64) {
	for usec := 0.0; usec <= s.most; usec += s.step {
		c.line("axis", s.x(usec), top, s.x(usec), bottom)
		unit := ""
		if usec+s.step > s.most {
			unit = " ms"
		}
		c.text("small middle", s.x(usec), bottom+14, "%g%s", math.Round(usec)/1000, unit)
	}
}

// row draws one candidate.
func (c *canvas) row(op result, r row, s scale) {
	class := ""
	switch r.Candidate {
	case minirunc:
		class = "ours"
	case sameC, bare:
		class = "bound"
	}
	middle := c.y + rowHeight/2
	c.text("right "+class, barsAt-10, middle+4, "%s", r.Candidate)
	c.bar(class, s.x(0), s.x(r.median()))
	low, high := s.x(quantile(r.Usec, 0.1)), s.x(quantile(r.Usec, 0.9))
	c.line("whisker", low, middle, high, middle)
	c.line("whisker", low, middle-4, low, middle+4)
	c.line("whisker", high, middle-4, high, middle+4)
	c.text("right "+class, medianAt, middle+4, "%.1f ms", r.median()/1000)
	if x := r.median() / op.median(crun); !math.IsNaN(x) {
		c.text("right "+class, ratioAt, middle+4, "%.2f", x)
	}
	if r.Candidate == minirunc {
		c.budget(op, s)
	}
	c.y += rowHeight
}

// budget marks how long minirunc's bar may be, by its strictest budget.
func (c *canvas) budget(op result, s scale) {
	most := math.Inf(1)
	for _, b := range budgets {
		if usec := b.most * op.median(b.against); b.operation == op.Name && usec < most {
			most = usec
		}
	}
	if most <= s.most {
		c.line("budget", s.x(most), c.y+1, s.x(most), c.y+rowHeight-1)
	}
}
