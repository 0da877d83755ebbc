package bundle

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"minirun/plan"
)

// TestAddDrop: as Docker understands --cap-add and --cap-drop.
func TestAddDrop(t *testing.T) {
	for _, c := range []struct {
		list, add, drop []string
		want            string
		err             string
	}{
		{[]string{"CAP_KILL"}, nil, nil, "CAP_KILL", ""},
		{[]string{"CAP_KILL"}, []string{"chown", "cap_net_raw"}, []string{"KILL"}, "CAP_CHOWN CAP_NET_RAW", ""},
		{[]string{"CAP_KILL"}, []string{"CHOWN"}, []string{"all"}, "CAP_CHOWN", ""},
		{[]string{"CAP_KILL"}, []string{"CHOWN"}, []string{"CHOWN"}, "CAP_KILL", ""},
		{nil, []string{"ALL"}, plan.Capabilities[1:], "CAP_CHOWN", ""},
		{nil, []string{"ALL"}, nil, strings.Join(plan.Capabilities, " "), ""},
		{nil, []string{"FLY"}, nil, "", `capability "FLY": no such capability`},
		{nil, nil, []string{"CAP_"}, "", `capability "CAP_": no such capability`},
	} {
		got, err := addDrop(c.list, c.add, c.drop)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if strings.Join(got, " ") != c.want || text != c.err {
			t.Errorf("addDrop(%q, %q, %q) = %q, %v; want %s, %s", c.list, c.add, c.drop, got, err, c.want, c.err)
		}
	}
	if len(defaultCapabilities) != 14 || !slices.IsSorted(defaultCapabilities) {
		t.Error("defaultCapabilities are not Docker's fourteen, in order")
	}
}

func Example_addDrop() {
	caps, err := addDrop(defaultCapabilities, []string{"net_admin"}, []string{"ALL"})
	fmt.Println(caps, err)
	// Output: [CAP_NET_ADMIN] <nil>
}
