package main

import (
	"encoding/json"

	known "minirun/container/features"
)

func features(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	f := known.All()
	f.Annotations = map[string]string{"org.minirun.version": version}
	e := json.NewEncoder(c.out)
	e.SetIndent("", "    ")
	return e.Encode(f)
}
