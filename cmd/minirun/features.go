package main

import (
	"encoding/json"
	"errors"

	"github.com/urfave/cli/v2"

	"minirun/container/features"
)

func featuresCommand() *cli.Command {
	return &cli.Command{
		Name: "features", Usage: "print what a bundle can ask for, as JSON",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage{errors.New("features: wants no argument")}
			}
			f := features.All()
			f.Annotations = map[string]string{"org.minirun.version": c.App.Version}
			e := json.NewEncoder(c.App.Writer)
			e.SetIndent("", "    ")
			return e.Encode(f)
		},
	}
}
