package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"minirun/cmd/testbed"
)

// TestStalledPipe: whoever writes an archive into a pipe, and stops, keeps no other command from
// the store; and the archive is loaded when it goes on.
func TestStalledPipe(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.Programs = testbed.ImageTar(t)
	f := testbed.BareField(t, testbed.Makers[0], "minirun")
	f.Must("import " + testbed.Programs + " box")
	archive, err := os.ReadFile(testbed.Programs)
	testbed.Must(t, err)
	for _, words := range []string{"import - piped", "load"} {
		for _, sent := range []int{0, 10, 1 << 20} {
			if testing.Short() && sent != 10 {
				continue
			}
			r, w, err := os.Pipe()
			testbed.Must(t, err)
			cmd := f.Command(words)
			var out bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = r, &out, &out
			testbed.Must(t, cmd.Start())
			r.Close()
			_, err = w.Write(archive[:sent])
			testbed.Must(t, err)
			time.Sleep(100 * time.Millisecond) // it waits for more
			start := time.Now()
			f.Must("import " + testbed.Programs + " other")
			f.Must("rmi other")
			f.Must("run --rm box true")
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%s that has got %d bytes: other commands took %v", words, sent, took)
			}
			_, err = io.Copy(w, bytes.NewReader(archive[sent:]))
			w.Close()
			failed := cmd.Wait()
			if words == "load" { // it is no image archive
				if failed == nil || !strings.Contains(out.String(), "not an image archive") {
					t.Errorf("load = %v, %v, %s", err, failed, out.String())
				}
			} else if err != nil || failed != nil {
				t.Errorf("%s = %v, %v, %s", words, err, failed, out.String())
			} else {
				f.Must("run --rm piped true")
				f.Must("rmi piped")
			}
		}
	}
}
