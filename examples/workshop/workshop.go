// Package workshop is the list of the labs. README.md says how to add one.
package workshop

import (
	one "minirun/examples/workshop/01-in-ps"
	threads "minirun/examples/workshop/02-threads"
	two "minirun/examples/workshop/03-two-names"
	hostname "minirun/examples/workshop/04-hostname"
	leak "minirun/examples/workshop/05-leak"
	jail "minirun/examples/workshop/06-jail"
	pidone "minirun/examples/workshop/13-pid-one"
	"minirun/examples/workshop/course"
)

// Labs are all labs, by number.
var Labs = []*course.Lab{
	&one.Lab,
	&threads.Lab,
	&two.Lab,
	&hostname.Lab,
	&leak.Lab,
	&jail.Lab,
	&pidone.Lab,
}

// Find returns the lab with a number; nil if there is none.
func Find(number int) *course.Lab {
	for _, l := range Labs {
		if l.Number == number {
			return l
		}
	}
	return nil
}
