package course

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// An Attempt is one student's try at one lab: what is kept between two commands.
type Attempt struct {
	Lab     int               `json:"lab"`
	Started time.Time         `json:"started"`
	Passed  time.Time         `json:"passed,omitzero"`
	Values  map[string]string `json:"values"` // drawn by Setup; they stay until reset

	Prediction []string `json:"prediction,omitempty"`
	Answer     []string `json:"answer,omitempty"`

	// Seen is what checks have seen, by a key of the lab's own. A thing must have been seen
	// before a check may say that it is gone.
	Seen map[string]string `json:"seen,omitempty"`

	Hints    int    `json:"hints"`             // how many were asked for
	Checks   int    `json:"checks"`            // how often check has run
	Wrong    int    `json:"wrong"`             // how often it said wrong
	LastWord string `json:"lastWord,omitzero"` // its last sentence, in English: where the student is
}

// See remembers something, for a later check.
func (a *Attempt) See(key, value string) {
	if a.Seen == nil {
		a.Seen = map[string]string{}
	}
	a.Seen[key] = value
}

// A Store is the directory of one student's attempts, a file NN.json each. Every file
// is replaced by rename(2), so it is whole even if `lab` is killed or the disk is full;
// lock is held by flock(2) while a command works.
type Store struct{ Dir string }

// OpenStore returns $XDG_DATA_HOME/minirun-lab or, without that variable,
// ~/.local/share/minirun-lab, and makes the directory.
func OpenStore() (*Store, error) {
	data := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		data = filepath.Join(home, ".local/share")
	}
	s := &Store{filepath.Join(data, "minirun-lab")}
	return s, os.MkdirAll(s.Dir, 0o700)
}

func (s *Store) path(lab int) string { return filepath.Join(s.Dir, fmt.Sprintf("%02d.json", lab)) }

// Lock waits until no other command of the same student works. The caller calls unlock.
func (s *Store) Lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("flock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// Load returns the attempt at a lab; nil if there is none.
func (s *Store) Load(lab int) (*Attempt, error) {
	text, err := os.ReadFile(s.path(lab))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := &Attempt{}
	if err := json.Unmarshal(text, a); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(lab), err)
	}
	return a, nil
}

// Save writes the attempt. If that fails, such as on a full disk, the old file is still
// there, whole. The caller holds the lock, so the file beside it is nobody else's.
func (s *Store) Save(a *Attempt) error {
	text, err := json.MarshalIndent(a, "", "\t")
	if err != nil {
		return err
	}
	path := s.path(a.Lab)
	if err = writeSynced(path+".new", append(text, '\n')); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new") // of a write that failed; the error is that of the write
	}
	return err
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// Forget removes the attempt. One that is not there is no error.
func (s *Store) Forget(lab int) error {
	for _, path := range []string{s.path(lab) + ".new", s.path(lab)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
