package image

// Zstandard, which Go's library does not have: the zstd command does it, in a
// process of its own. Why not a Go package? The known one computes tables
// before main begins, in each of minirun's commands, and few images use zstd.

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// zstdReader reads what a running zstd(1) writes.
type zstdReader struct {
	command  *exec.Cmd
	out      io.ReadCloser
	messages bytes.Buffer
	ended    bool
}

// unzstd starts zstd. The memory it may use bounds the window that a hostile
// frame can ask for; 128 MiB is enough for all but --ultra --long.
func unzstd(r io.Reader) (io.ReadCloser, error) {
	z := &zstdReader{command: exec.Command("zstd", "--decompress", "--stdout", "--quiet", "--memory=128MiB")}
	z.command.Stdin = r
	z.command.Stderr = &z.messages
	z.command.WaitDelay = time.Second // for an r that blocks after an error
	out, err := z.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	z.out = out
	if err := z.command.Start(); err != nil {
		return nil, fmt.Errorf("layers compressed with zstd need the zstd command: %w", err)
	}
	return z, nil
}

// Read gives what zstd wrote; at the end, whether zstd was content.
func (z *zstdReader) Read(p []byte) (int, error) {
	if z.ended {
		return 0, io.EOF
	}
	n, err := z.out.Read(p)
	if err != io.EOF {
		return n, err
	}
	z.ended = true
	if err := z.command.Wait(); err != nil {
		return n, fmt.Errorf("zstd: %w: %q", err, strings.TrimSpace(z.messages.String()))
	}
	return n, io.EOF
}

// Close ends zstd if it has not ended by itself.
func (z *zstdReader) Close() error {
	if !z.ended {
		z.command.Process.Kill()
		z.command.Wait() // says that it was killed, which we know
	}
	return nil
}
