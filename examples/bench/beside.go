package main

import (
	"errors"
	"fmt"
	"time"
)

// This file asks whether a container costs more the more others there are.
// Nothing in minirunc should: it looks at one container's state, one cgroup and
// one process, whatever else runs.

// others are how many containers run beside the measured one.
var others = []int{0, 10, 300}

// besideOperations are measured; start is that of a created container.
var besideOperations = []string{"state", "exec", "start", "/bin/true"}

// beside measures minirunc's operations beside none, some and many containers.
// They cannot take turns as the candidates of [measure] do: each count is
// measured after the one before it. So /bin/true without a container is timed,
// too: what changes for it is the machine's.
func (b *bench) beside(rounds int) (facts []fact) {
	c := b.candidate(minirunc)
	if c.path == "" {
		return []fact{{Title: "one container beside others", Candidate: c.name, Skipped: c.missing}}
	}
	none := map[string]float64{}
	running, err := 0, error(nil)
	for _, n := range others {
		for ; running < n && err == nil; running++ {
			progress("container %d of %d", running+1, n)
			err = b.start(c, fmt.Sprint("other-", running))
		}
		progress("")
		for _, word := range besideOperations {
			f := fact{Title: fmt.Sprintf("%s beside %d others", word, n), Candidate: c.name, Unit: "ms", Err: message(err)}
			if err == nil {
				f.Value, err = b.besideOne(c, word, rounds)
				f.Err = message(err)
			}
			if n == 0 {
				none[word] = f.Value
			} else if f.Err == "" {
				ratio := fact{Title: f.Title + ", against beside none", Candidate: c.name, Value: f.Value / none[word]}
				if word != "/bin/true" && n == others[len(others)-1] {
					ratio.Budget = 1.1
				}
				facts = append(facts, f, ratio)
				continue
			}
			facts = append(facts, f)
		}
	}
	for i := range running {
		b.remove(c, fmt.Sprint("other-", i))
	}
	return facts
}

// besideOne is the median of one operation, in ms.
func (b *bench) besideOne(c candidate, word string, rounds int) (float64, error) {
	const id = "one"
	if word == "state" || word == "exec" {
		if err := b.start(c, id); err != nil {
			return 0, err
		}
		defer b.remove(c, id)
	}
	once := map[string]func() (time.Duration, error){
		"state":     b.timed(b.command(c, "state", id)...),
		"exec":      b.timed(b.command(c, "exec", id, "/bin/true")...),
		"start":     func() (time.Duration, error) { return b.startCreated(c, id) },
		"/bin/true": b.timed(b.candidate(bare).path),
	}[word]
	var took []float64
	for round := range warmUp + rounds {
		t, err := once()
		reap()
		if err != nil {
			return 0, err
		}
		if round >= warmUp {
			took = append(took, milliseconds(t))
		}
	}
	return quantile(took, 0.5), nil
}

// startCreated is how long start takes of a container that was created before,
// and is deleted after it.
func (b *bench) startCreated(c candidate, id string) (time.Duration, error) {
	bundle, err := b.writeBundle(container{id: id, program: "/bin/pause"})
	if err != nil {
		return 0, err
	}
	if _, err := b.runner.run(b.command(c, "create", "--bundle", bundle, id)...); err != nil {
		return 0, err
	}
	took, err := b.runner.run(b.command(c, "start", id)...)
	_, deleteErr := b.runner.run(b.command(c, "delete", "--force", id)...)
	return took, errors.Join(err, deleteErr)
}
