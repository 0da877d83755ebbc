package plan

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheckDepth(t *testing.T) {
	for path, want := range map[string]error{
		"":                           nil,
		"/":                          nil,
		strings.Repeat("/d", 256):    nil,
		strings.Repeat("/d", 257):    errTooDeep,
		strings.Repeat("/d/..", 500): nil,
		strings.Repeat("/", 500):     nil,
		"/" + strings.Repeat("x", unix.PathMax-1): unix.ENAMETOOLONG,
	} {
		if err := CheckDepth(path); !errors.Is(err, want) {
			t.Errorf("CheckDepth(%.20q, %d bytes) = %v, want %v", path, len(path), err, want)
		}
	}
}
