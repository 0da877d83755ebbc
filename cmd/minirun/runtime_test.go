package main

import (
	"strings"
	"testing"
)

// TestIsEngine: whose command line it is. Ids below an engine's --root never meet
// people's names.
func TestIsEngine(t *testing.T) {
	for words, want := range map[string]bool{
		"":                           false,
		"create x":                   false, // of an image: there is no bundle here
		"--root /r create x":         true,
		"create --bundle . x":        true,
		"create --pid-file p -b . x": true,
		"--root /r start x":          true,
		"state x":                    true,
		"checkpoint x":               true,
		"--log /l state x":           true,
		"run httpd":                  false,
		"--root /r run httpd":        false,
		"--systemd-cgroup run a":     false,
		"--log /l run a":             true,
		"run --bundle . x":           true,
		"run -d -b . x":              true,
		"run -bundle=. x":            true,
		"run -no-subreaper x":        true,
		"run --name n -b . x":        true,
		"run httpd ls --bundle x":    false,
		"run --rm box grep -b r f":   false,
		"run --name -b box":          false,
		"run -it -e A=b -v /b:/b box sh --bundle": false,
		"plan httpd":                       false,
		"plan -o sh --bundle . x":          true,
		"--root /r plan httpd":             false,
		"exec web ls":                      false,
		"exec -it web ls -p x":             false,
		"exec -u 0 web ls --process":       false,
		"exec --process x web":             true,
		"exec -d -p x web":                 true,
		"exec --pid-file=x web ls":         true,
		"exec -console-socket x w ls":      true,
		"--root /r exec web ls":            true,
		"--root /r --store /s exec web ls": false,
		"--store /s exec web ls":           false,
		"kill web":                         false,
		"--root=/r kill web 9":             true,
		"--root /r --log /l kill web 9":    true,
		"--systemd-cgroup update web":      true,
		"--root /r ps --format json x":     true,
		"ps --format json x":               false,
		"--root /r rm x":                   false,
		"--root /r images":                 false,
		"--root /r ps":                     false,
		"--nosuch kill x":                  false,
		"nosuch --bundle":                  false,
	} {
		if isEngine(strings.Fields(words)) != want {
			t.Errorf("minirun %s is an engine's: %v, want %v", words, !want, want)
		}
	}
}
