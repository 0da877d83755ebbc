package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"minirun/container"
)

func stateCommand() *cli.Command {
	return &cli.Command{
		Name: "state", Usage: "print a container's state as JSON", ArgsUsage: "ID",
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return usage{errors.New("state: want one argument, the container")}
			}
			k, err := find(c, c.Args().First())
			if err != nil {
				return err
			}
			s, err := ociState(k, "")
			if err != nil {
				return fmt.Errorf("state of %s: %w", k.ID, err)
			}
			data, err := json.MarshalIndent(s, "", "  ")
			if err != nil {
				return err
			}
			_, err = c.App.Writer.Write(data)
			return err
		},
	}
}

// A shownState is the state in the form that callers of runc expect: the
// runtime-spec's, and some more. Of a list of states each has its owner.
type shownState struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"` // 0 if stopped
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

func ociState(k *container.Container, owner string) (shownState, error) {
	s, err := k.OCI()
	return shownState{s.Version, s.ID, s.Pid, string(s.Status), s.Bundle, k.Rootfs, k.Created, s.Annotations, owner}, err
}
