package bundle

import (
	"fmt"
	"slices"
	"strings"

	"minirun/namespaces/network"
	"minirun/rootfs/image"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// This file is about a container's network as its bundle has it, in annotations for the most
// part.

// Exposed adds to ports those that an image says it listens on, each on a port of the
// host's that is still to be chosen. What is no port is left out.
func Exposed(img *image.Image, published []network.Port) []network.Port {
	for word := range strings.SplitSeq(ports(img.Config.Config.ExposedPorts), ", ") {
		more, err := network.ParsePort(word)
		if err != nil || len(published)+len(more) > mostExposed {
			continue
		}
		for _, p := range more {
			if !slices.ContainsFunc(published, func(q network.Port) bool { return q.Of() == p.Of() }) {
				published = append(published, p)
			}
		}
	}
	return published
}

// mostExposed is more than any honest image has.
const mostExposed = 256

// portWords are ports as the annotation [Published] has them.
func portWords(ports []network.Port) string {
	words := make([]string, len(ports))
	for i, p := range ports {
		words[i] = fmt.Sprintf("%s:%d:%s", p.On(), p.Host, p.Of())
	}
	return strings.Join(words, ",")
}

// Published are the ports of the host's that lead to the container's. What cannot be read in
// its annotation is left out: somebody has changed it.
func (b *Bundle) Published() []network.Port {
	text := b.Annotation(Published)
	if text == "" {
		return nil
	}
	ports, err := network.ParsePorts(strings.Split(text, ","))
	if err != nil {
		return nil
	}
	return ports
}

// Rate is the bandwidth of the container's link.
func (b *Bundle) Rate() network.Rate {
	r, err := network.ParseRate(b.Annotation(Rate))
	if err != nil {
		return network.Rate{}
	}
	return r
}

// JoinNetwork lets a container that does not run have another network namespace than its
// config.json names: that of another container has another path after that was started again.
func (b *Bundle) JoinNetwork(path string) error {
	for i, n := range b.Spec.Linux.Namespaces {
		if n.Type == specs.NetworkNamespace && n.Path != path {
			b.Spec.Linux.Namespaces[i].Path = path
			return b.save()
		}
	}
	return nil
}
