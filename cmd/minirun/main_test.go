package main

import (
	"testing"

	"minirun/cmd/testbed"
)

func TestMain(m *testing.M) { testbed.Main(m, "minirun", main, "minirunc", "minirun-pull") }

func TestScripts(t *testing.T) { testbed.Scripts(t, "testdata/script") }

func TestNativeScripts(t *testing.T) {
	testbed.NeedRoot(t)
	testbed.ImportPrograms(t)
	testbed.Scripts(t, "testdata/native")
}
