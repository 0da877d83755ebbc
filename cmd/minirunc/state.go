package main

import (
	"encoding/json"
	"fmt"
	"time"

	"minirun/container"
)

func state(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	k, err := c.load()
	if err != nil {
		return err
	}
	s, err := shown(k, "")
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	_, err = c.out.Write(data)
	return err
}

// A shownState is the state in the form that callers of runc expect: the
// runtime-spec's properties, and some more.
type shownState struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"` // 0 if stopped
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"` // only in list
}

func shown(k *container.Container, owner string) (shownState, error) {
	s, err := k.OCI()
	if err != nil {
		return shownState{}, fmt.Errorf("state of %s: %w", k.ID, err)
	}
	return shownState{s.Version, s.ID, s.Pid, string(s.Status), s.Bundle, k.Rootfs, k.Created, s.Annotations, owner}, nil
}
