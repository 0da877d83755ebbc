package course

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// A Draw draws values at random, so that nobody can copy a neighbour's answers.
type Draw struct {
	taken func(name string) bool // says whether a container has the name; nil: none has
}

// NewDraw returns a Draw. It draws no name of which taken is true.
func NewDraw(taken func(name string) bool) *Draw { return &Draw{taken} }

var animals = []string{
	"ant", "badger", "bat", "bear", "beaver", "bee", "boar", "bream", "camel", "carp", "cat", "cicada", "cod", "crab", "crane", "crow",
	"deer", "dolphin", "dove", "duck", "eel", "elk", "falcon", "finch", "fox", "frog", "gecko", "goose", "hare", "hawk", "heron", "ibex",
	"jay", "koala", "lark", "lynx", "magpie", "marten", "mole", "moose", "moth", "newt", "otter", "owl", "panda", "perch", "pika", "puma",
	"quail", "rabbit", "raven", "robin", "salmon", "seal", "snail", "sparrow", "stork", "swan", "tiger", "toad", "trout", "turtle", "weasel", "wolf",
}

// Name draws the name of a container: an animal and two digits. On a machine with
// several students each has another one.
func (d *Draw) Name() string {
	for {
		name := fmt.Sprint(animals[rand.IntN(len(animals))], 10+rand.IntN(90))
		if d.taken == nil || !d.taken(name) {
			return name
		}
	}
}

// Number draws a number of at least low and at most high, in decimal.
func (d *Draw) Number(low, high int) string { return strconv.Itoa(low + rand.IntN(high-low+1)) }
