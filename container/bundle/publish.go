package bundle

import (
	"fmt"
	"slices"
	"strings"

	"minirun/namespaces/network"
	"minirun/rootfs/image"
)

// This file is about the ports that lead to a container, as its annotations have them.

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
