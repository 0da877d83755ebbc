// Package names makes up names for containers: an adjective and the surname of
// somebody who did something for science or computing, as Docker's users know
// them. It keeps no list of names in use; whoever takes a name finds out.
package names

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// Random returns a name such as stupefied_gagarin. try counts from 0 how often
// the caller has been out of luck; from the first retry on a digit is added.
func Random(try int) string {
	for {
		name := one(adjectives) + "_" + one(surnames)
		if name == "boring_wozniak" { // Steve Wozniak is not boring
			continue
		}
		if try > 0 {
			name += strconv.Itoa(rand.IntN(10))
		}
		return name
	}
}

// one of the words. They are taken apart here, and not when every command starts.
func one(words string) string {
	all := strings.Fields(words)
	return all[rand.IntN(len(all))]
}

const adjectives = `
	agile amused bold boring brave bright calm careful cheerful clever cosy crazy curious daring dazzling eager
	earnest elegant fair fearless fervent focused friendly gentle gifted graceful happy hopeful humble jolly keen
	kind lively lucid merry modest nimble patient peaceful playful polite proud quick quiet relaxed serene sharp
	silent smart stoic stupefied sunny swift tender thirsty trusting upbeat vivid vigilant wise witty zealous`

const surnames = `
	agnesi allen almeida archimedes babbage banach bardeen bell bohr boole brahmagupta carson cerf chandrasekhar chatelet
	chebyshev clarke curie darwin dijkstra driscoll easley einstein engelbart euclid euler faraday fermat fermi feynman
	franklin gagarin galileo galois gates gauss germain goldstine goldwasser goodall hamilton hawking herschel hodgkin
	hopper hypatia jang johnson kalam kepler kilby knuth kowalevski lamarr lamport leakey leavitt lovelace mahavira
	mccarthy meitner mendel mirzakhani moore morse newton nobel noether pasteur perlman pike poincare ramanujan ritchie
	rosalind rubin sammet shannon shockley sutherland swirles tesla thompson torvalds turing varahamihira villani
	wescoff wiles wilson wozniak wright yalow yonath`
