// Probe is the hostile program in the containers of package attacks.
//
// Without arguments it tries, one after the other, what a container should not
// be able to do, and prints for each
//
//	NAME <tab> blocked <tab> ERRNO, or what else stopped it
//	NAME <tab> possible <tab> what it saw
//
// None of it does harm where it succeeds: what would change something is asked
// for with an argument that the kernel refuses only after the permissions were
// checked, or sets what is set already. See probes.go.
//
// With arguments it plays a part in one attack. See parts.go.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) == 1 || os.Args[1] == "--as-root" {
		os.Exit(probeAll(os.Args[1:]))
	}
	part, ok := parts[os.Args[1]]
	if !ok {
		fmt.Fprintf(os.Stderr, "probe: no part %q\n", os.Args[1])
		os.Exit(100)
	}
	text, err := part(os.Args[2:])
	if text != "" {
		fmt.Println(text)
	}
	if err != nil {
		fmt.Println("error:", err)
	}
}
