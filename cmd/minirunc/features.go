package main

import (
	"encoding/json"

	"minirun/container"
)

func features(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	f := container.Features()
	f.Annotations = map[string]string{"org.minirun.version": version}
	e := json.NewEncoder(c.out)
	e.SetIndent("", "    ")
	return e.Encode(f)
}
