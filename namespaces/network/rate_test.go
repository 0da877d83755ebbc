package network

import (
	"strings"
	"testing"
)

// rateCases are rates as people write them: what they are in bits a second, and how they
// are written again.
var rateCases = map[string]struct {
	rate  Rate
	again string
}{
	"10mbit":        {Rate{10e6, 10e6}, "10mbit"},
	"10mbit:20mbit": {Rate{10e6, 20e6}, "10mbit:20mbit"},
	"10mbit:":       {Rate{10e6, 0}, "10mbit:"},
	":2MBIT":        {Rate{0, 2e6}, ":2mbit"},
	"1.5mbit":       {Rate{15e5, 15e5}, "1500kbit"},
	"64kbps":        {Rate{512e3, 512e3}, "512kbit"},
	"1mibit":        {Rate{1 << 20, 1 << 20}, "1048576bit"},
	"1kibps:1gbit":  {Rate{}, `rate "1kibps:1gbit": "1kibps": want 12kbit or more`},
	"100000":        {Rate{1e5, 1e5}, "100kbit"},
	"0":             {Rate{}, ""},
	"10tbit":        {Rate{1e13, 1e13}, "10tbit"},
	"":              {Rate{}, `rate "": want DOWN or DOWN:UP, such as 10mbit:2mbit`},
	":":             {Rate{}, `rate ":": want DOWN or DOWN:UP, such as 10mbit:2mbit`},
	"11tbit":        {Rate{}, `rate "11tbit": "11tbit": want 10tbit or less`},
	"-1mbit":        {Rate{}, `rate "-1mbit": "-1mbit": want a number and a unit, such as 10mbit`},
	"1e9":           {Rate{}, `rate "1e9": "1e9": want a number and a unit, such as 10mbit`},
	"1.2.3mbit":     {Rate{}, `rate "1.2.3mbit": "1.2.3mbit": want a number and a unit, such as 10mbit`},
	"mbit":          {Rate{}, `rate "mbit": "mbit": want a number and a unit, such as 10mbit`},
	"10 mbit":       {Rate{}, `rate "10 mbit": "10 mbit": want a number and a unit, such as 10mbit`},
	"10mb":          {Rate{}, `rate "10mb": "10mb": unit "mb": want one of tc's, such as kbit, mbit, gbit, or kbps for bytes`},
	"1:2:3":         {Rate{}, `rate "1:2:3": "1": want 12kbit or more`},
	"NaN":           {Rate{}, `rate "NaN": "NaN": want a number and a unit, such as 10mbit`},
	"50%":           {Rate{}, `rate "50%": "50%": want a number and a unit, such as 10mbit`},
}

func TestParseRate(t *testing.T) {
	for text, want := range rateCases {
		got, err := ParseRate(text)
		again := got.String()
		if err != nil {
			got, again = Rate{}, err.Error()
		}
		if got != want.rate || again != want.again {
			t.Errorf("ParseRate(%q) = %+v, %s; want %+v, %s", text, got, again, want.rate, want.again)
		}
	}
}

// FuzzParseRate: what is accepted is in range, and means the same when it is written again.
func FuzzParseRate(f *testing.F) {
	for text := range rateCases {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRate(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("ParseRate(%q): error with control characters: %q", text, err)
			}
			return
		}
		for _, bits := range []uint64{r.Down, r.Up} {
			if bits != 0 && (bits < slowest || bits > fastest) {
				t.Fatalf("ParseRate(%q) = %+v", text, r)
			}
		}
		if r == (Rate{}) {
			return
		}
		if again, err := ParseRate(r.String()); err != nil || again != r {
			t.Fatalf("ParseRate(%q) = %+v, %v; want %+v", r.String(), again, err, r)
		}
	})
}
