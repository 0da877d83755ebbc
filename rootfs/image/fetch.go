package image

// Fetching the layers of a pull: several at a time, each from where an earlier try has
// stopped, none longer than its manifest says, and none used before its digest is right.

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"minirun/rootfs/image/private"
)

const (
	// maxFetches is how many layers are fetched at a time, as many as docker does.
	maxFetches = 3
	// maxCuts is how often one layer may be cut in a row without much progress.
	maxCuts = 5
	// muchProgress is how many bytes make a cut forgotten. Without such a bound a server
	// that gives a byte and hangs up could keep us for ever.
	muchProgress = 1 << 20
	// firstPause doubles with each cut.
	firstPause = 250 * time.Millisecond
	// askAgain is how often a pull looks whether another one has fetched a layer.
	askAgain = 100 * time.Millisecond
)

// fetchLayers fetches what is missing of the layers. If the store has the image already, by
// whatever way it has come, nothing is.
func (l *pull) fetchLayers(ctx context.Context, manifest *document, config *Config) error {
	known := l.known(manifest.Config.Digest)
	seen := map[Digest]bool{}
	for _, d := range manifest.Layers {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		if known || l.store.blobs.Has(d.Digest.Hex(), unix.S_IFREG) {
			l.tell(d, Exists, d.Size)
			continue
		}
		l.tell(d, Listed, 0)
		l.layers = append(l.layers, d)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var workers sync.WaitGroup
	limit := make(chan struct{}, maxFetches)
	failed := make([]error, len(l.layers))
	for i, d := range l.layers {
		limit <- struct{}{}
		workers.Go(func() {
			defer func() { <-limit }()
			if failed[i] = l.fetch(ctx, d); failed[i] != nil {
				cancel()
			}
		})
	}
	workers.Wait()
	return firstCause(failed)
}

// firstCause is the first error that is not only the end of the others.
func firstCause(failed []error) error {
	i := slices.IndexFunc(failed, func(err error) bool { return err != nil && !errors.Is(err, context.Canceled) })
	if i < 0 {
		i = slices.IndexFunc(failed, func(err error) bool { return err != nil })
	}
	if i < 0 {
		return nil
	}
	return failed[i]
}

// known says whether the store has the image with this ID.
func (l *pull) known(id Digest) bool {
	index, err := l.store.readIndex()
	if err != nil {
		return false // begin says what is wrong with it
	}
	images, err := l.store.images(&index)
	return err == nil && slices.ContainsFunc(images, func(i *Image) bool { return i.ID == id && i.Unpacked() == nil })
}

// tell sends progress.
func (l *pull) tell(d Descriptor, step Step, done int64) {
	l.store.options.Progress(Progress{Layer: d.Digest, Step: step, Done: done, Total: d.Size})
}

// fetch brings one layer into the store.
func (l *pull) fetch(ctx context.Context, d Descriptor) error {
	f, err := l.claim(ctx, d)
	if err == nil && f != nil {
		t := &transfer{pull: l, layer: d, f: f, buffer: make([]byte, 256<<10)}
		err = t.run(ctx)
		f.Close()
	}
	if err != nil {
		return fmt.Errorf("layer %.19s: %w", d.Digest, cause(err))
	}
	l.tell(d, Fetched, d.Size)
	return nil
}

// claim opens what there is of a layer, and locks it. While another pull has it, it waits; if
// the layer is in the store by then, it returns nil.
func (l *pull) claim(ctx context.Context, d Descriptor) (*os.File, error) {
	for waits := false; ; {
		if l.store.blobs.Has(d.Digest.Hex(), unix.S_IFREG) {
			return nil, nil
		}
		f, err := l.dir.OpenFile(d.Digest.Hex(), unix.O_RDWR|unix.O_CREAT, 0o600)
		if err != nil {
			return nil, err
		}
		err = private.Lock(f, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && l.isStill(d, f) {
			return f, nil
		}
		f.Close()
		if err == nil {
			continue // who had it has moved it to the store, or a Remove has removed it
		} else if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, err
		}
		if !waits {
			waits = true
			l.tell(d, Waiting, 0)
		}
		if err := pause(ctx, askAgain); err != nil {
			return nil, err
		}
	}
}

// isStill says whether a file that we have opened still has its name.
func (l *pull) isStill(d Descriptor, f *os.File) bool {
	there, err := l.dir.Lstat(d.Digest.Hex())
	var ours unix.Stat_t
	return err == nil && unix.Fstat(int(f.Fd()), &ours) == nil && ours.Dev == there.Dev && ours.Ino == there.Ino
}

// A transfer is one layer on its way into a file that is ours by its lock.
type transfer struct {
	pull   *pull
	layer  Descriptor
	f      *os.File
	buffer []byte
	hash   hash.Hash // of the first done bytes
	done   int64
	before bool // some of them are from an earlier pull
}

// run fetches the rest, checks all, and moves it to the store. What cannot be right, or for
// which the disk has no room, is removed; what is only cut stays for the next pull.
func (t *transfer) run(ctx context.Context) error {
	err := t.fetch(ctx)
	if errors.Is(err, ErrDigest) && t.before {
		// The first bytes are those that somebody else was given, perhaps by another server.
		if err = t.reset(); err == nil {
			err = t.fetch(ctx)
		}
	}
	name := t.layer.Digest.Hex()
	if err == nil {
		// Without it a power failure could leave the name and not the bytes: whoever finds a
		// blob by its name in the store does not check its digest again.
		err = t.f.Sync()
	}
	if err == nil {
		err = t.f.Chmod(0o600) // the umask may have taken more than it should
	}
	if err == nil {
		return t.pull.dir.Rename(name, t.pull.store.blobs, name)
	}
	if errors.Is(err, ErrDigest) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		t.pull.dir.Remove(name) // if that does not work, the next Remove does it
	}
	return err
}

// fetch fetches the rest, however often it is cut, and compares the digest.
func (t *transfer) fetch(ctx context.Context) error {
	if err := t.resume(); err != nil {
		return err
	}
	for tries := (&cuts{}); t.done < t.layer.Size; {
		t.tell(Fetching)
		cut, err := t.receive(ctx)
		if err != nil {
			return err
		}
		if cut == nil {
			break
		}
		t.tell(Interrupted)
		if err := tries.wait(ctx, t.done, cut); err != nil {
			return err
		}
	}
	return compare(Descriptor{Digest: digestOf(t.hash), Size: t.done}, t.layer)
}

func (t *transfer) tell(step Step) { t.pull.tell(t.layer, step, t.done) }

// resume reads what is there, for the digest. More than there should be is nothing.
func (t *transfer) resume() error {
	info, err := t.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > t.layer.Size {
		return t.reset()
	}
	if _, err := t.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	t.hash = sha256.New()
	t.done, err = io.CopyBuffer(t.hash, io.LimitReader(t.f, info.Size()), t.buffer)
	t.before = t.done > 0
	return err
}

// reset begins again.
func (t *transfer) reset() error {
	t.hash, t.done, t.before = sha256.New(), 0, false
	_, err := t.f.Seek(0, io.SeekStart)
	return errors.Join(err, t.f.Truncate(0))
}

// receive appends what the source gives, until its end. cut is why it ended too early.
func (t *transfer) receive(ctx context.Context) (cut, err error) {
	body, start, err := t.pull.from.Blob(ctx, t.layer, t.done)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if start != t.done {
		if start != 0 {
			return errOffset(start), nil
		}
		if err := t.reset(); err != nil {
			return nil, err
		}
	}
	from := t.done
	for {
		n, readErr := body.Read(t.buffer)
		if t.done+int64(n) > t.layer.Size {
			return nil, fmt.Errorf("%w its size of %d bytes: there are more", ErrDigest, t.layer.Size)
		}
		if _, err := t.f.Write(t.buffer[:n]); err != nil {
			return nil, err
		}
		t.hash.Write(t.buffer[:n])
		t.done += int64(n)
		t.tell(Fetching)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case readErr == io.EOF && t.done == t.layer.Size:
			return nil, nil
		case readErr == io.EOF && t.done == from: // no cut: that would be another error
			return nil, fmt.Errorf("%w its size of %d bytes: it ends after %d", ErrDigest, t.layer.Size, t.done)
		case readErr == io.EOF:
			return io.ErrUnexpectedEOF, nil
		case readErr != nil:
			return readErr, nil
		}
	}
}

// errOffset is an error if a source does not begin where it was asked to.
func errOffset(start int64) error {
	if start == 0 {
		return nil
	}
	return fmt.Errorf("the server begins at byte %d, which was not asked for", start)
}

// cuts counts the cuts of one layer.
type cuts struct {
	inARow int
	at     int64 // how far the layer was when they were counted from one on
}

// wait waits before the next try, longer each time. After too many it is an error.
func (c *cuts) wait(ctx context.Context, done int64, cut error) error {
	if done-c.at >= muchProgress {
		c.inARow, c.at = 0, done
	}
	if c.inARow++; c.inARow > maxCuts {
		return fmt.Errorf("cut %d times: %w", c.inARow, cut)
	}
	return pause(ctx, firstPause<<(c.inARow-1))
}

// pause waits, but not longer than ctx.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
