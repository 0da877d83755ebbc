// Package boot makes the start of minirun short: of a program that lives for some
// milliseconds, making room for it is most of the work. It imports nothing, and so is
// initialised before nearly all other packages: they have the room, too.
package boot

func init() { growStack() }

// growStack makes the main goroutine's stack as large as a start needs it, at
// once. To grow while it is in use, five times, is a twentieth of a start.
func growStack()
