package print

import (
	"fmt"
	"path"
	"runtime"
	"strings"

	"minirun/plan"
)

// Source is the function that recorded a step, the first outside package plan,
// as in
//
//	rootfs/mounts.go:112 Root.mount
//
// or "" if the plan does not know ([plan.Plan].Sources). The path is relative to
// the module. It is made from the package's path, since that of the file depends
// on how the program was built (-trimpath).
func Source(s *plan.Step) string {
	frames := runtime.CallersFrames(s.Callers)
	for more := len(s.Callers) > 0; more; {
		var f runtime.Frame
		f, more = frames.Next()
		slash := strings.LastIndex(f.Function, "/") + 1
		name, function, _ := strings.Cut(f.Function[slash:], ".")
		if pkg := f.Function[:slash] + name; pkg != recorder {
			_, relative, _ := strings.Cut(pkg, "/")
			return fmt.Sprintf("%s:%d %s", path.Join(relative, path.Base(f.File)), f.Line, functionName(function))
		}
	}
	return ""
}

// recorder is the package whose functions record steps for others.
const recorder = "minirun/plan"

// functionName is the name of a function in its source: (*Root).mount.func1 is a
// function in Root.mount.
func functionName(f string) string {
	f = strings.NewReplacer("(*", "", ")", "").Replace(f)
	if i := strings.Index(f, ".func"); i > 0 {
		f = f[:i]
	}
	return f
}
