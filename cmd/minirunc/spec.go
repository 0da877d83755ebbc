package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"minirun/container/example"
)

func spec(c *call) error {
	dir := c.flags.text("bundle b", "the bundle's `DIR`; the current directory if not given")
	rootless := c.flags.yes("rootless", "for an ordinary user")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	data, err := json.MarshalIndent(example.Spec(*rootless), "", "\t")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(*dir, "config.json"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	return errors.Join(err, f.Close())
}
