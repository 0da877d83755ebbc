package network

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestWhole(t *testing.T) {
	other := errors.New("another")
	for _, test := range []struct {
		interrupted int
		last, want  error
		calls       int
	}{
		{0, nil, nil, 1},
		{3, nil, nil, 4},
		{3, other, other, 4},
		{5000, nil, netlink.ErrDumpInterrupted, 1000},
	} {
		calls := 0
		_, err := whole(func() ([]int, error) {
			if calls++; calls <= test.interrupted {
				return nil, netlink.ErrDumpInterrupted
			}
			return []int{1}, test.last
		})
		if calls != test.calls || !errors.Is(err, test.want) {
			t.Errorf("%d interrupted: %d calls, %v; want %d, %v", test.interrupted, calls, err, test.calls, test.want)
		}
	}
}
