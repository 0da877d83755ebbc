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
		if p.Host == 0 {
			words[i] = fmt.Sprintf("%s::%s", p.On(), p.Of())
		}
	}
	return strings.Join(words, ",")
}

// Published are the ports of the host's that lead to the container's; nil if the annotation
// cannot be read: somebody has changed it. [Bundle.Link] says so.
func (b *Bundle) Published() []network.Port {
	ports, _, err := b.Link()
	if err != nil {
		return nil
	}
	return ports
}

// Link is what is to be made of the network when the container is started: its published ports,
// and the bandwidth.
func (b *Bundle) Link() (ports []network.Port, rate network.Rate, err error) {
	if text := b.Annotation(Published); text != "" {
		if ports, err = network.ParsePorts(strings.Split(text, ",")); err != nil {
			return nil, rate, fmt.Errorf("annotation %s: %w", Published, err)
		}
	}
	if text := b.Annotation(Rate); text != "" {
		if rate, err = network.ParseRate(text); err != nil {
			return nil, rate, fmt.Errorf("annotation %s: %w", Rate, err)
		}
	}
	return ports, rate, nil
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

// Attached writes down the ports that lead to a container, if one of them has just been
// chosen.
func (b *Bundle) Attached(ports []network.Port) error {
	words := portWords(ports)
	if len(ports) == 0 || words == b.Annotation(Published) {
		return nil
	}
	b.Spec.Annotations[Published] = words
	return b.save()
}

// SetRate writes down the bandwidth that the container's link has from now on.
func (b *Bundle) SetRate(rate network.Rate) error {
	b.Spec.Annotations[Rate] = rate.String()
	return b.save()
}
