package main

// Which registries are asked, and how: /etc/minirun/registries, and a user's own in
// $XDG_CONFIG_HOME/minirun/registries (~/.config). Both count. Each line is a word and what
// it is about; # begins a comment.
//
//	mirror docker.io mirror.lan:5000    ask mirror.lan:5000 first for images of docker.io
//	insecure registry.lan               registry.lan may be asked without TLS, and may
//	                                    lead to addresses that are not public
//	allow registry.lan mirror.lan:5000  ask these and no other registry
//
// A host without a port stands for that host with any port.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// registries are what the files say.
type registries struct {
	mirrors  map[string][]string // by the registry
	insecure []string
	allowed  []string // nil: all
	files    []string // in which something is allowed
}

// readRegistries reads both files. One that does not exist is empty.
func readRegistries() (*registries, error) {
	paths := []string{"/etc/minirun/registries"}
	if dir, err := os.UserConfigDir(); err == nil { // else there is no home
		paths = append(paths, filepath.Join(dir, "minirun/registries"))
	}
	r := &registries{mirrors: map[string][]string{}}
	for _, path := range paths {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) && path != paths[0] {
			continue
		} else if err != nil {
			return nil, err
		}
		err = r.read(f, path)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// longestFile is how much is read of a file.
const longestFile = 1 << 20

func (r *registries) read(f io.Reader, path string) error {
	lines := bufio.NewScanner(io.LimitReader(f, longestFile))
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		switch {
		case len(words) == 0:
		case words[0] == "mirror" && len(words) == 3:
			r.mirrors[words[1]] = append(r.mirrors[words[1]], words[2])
		case words[0] == "insecure" && len(words) > 1:
			r.insecure = append(r.insecure, words[1:]...)
		case words[0] == "allow" && len(words) > 1:
			r.allowed = append(r.allowed, words[1:]...)
			r.files = append(r.files, path)
		default:
			return fmt.Errorf("read %s: line %d: %q: want mirror REGISTRY HOST, insecure HOST... or allow HOST...", path, n, text)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// places are the hosts to ask for images of a registry, one after the other.
func (r *registries) places(registry string) (hosts []string, err error) {
	for _, host := range append(slices.Clone(r.mirrors[registry]), registry) {
		if r.allowed == nil || matches(r.allowed, host) {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("registry %s: %w by %s", registry, errNotAllowed, r.files[0])
	}
	return hosts, nil
}

var errNotAllowed = errors.New("not allowed")

// matches says whether one of the patterns is a host, or a host with its port.
func matches(patterns []string, host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	return slices.ContainsFunc(patterns, func(p string) bool { return strings.EqualFold(p, host) || strings.EqualFold(p, name) })
}
