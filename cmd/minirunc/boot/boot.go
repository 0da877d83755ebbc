// Package boot gives the main goroutine a large stack before main begins. A
// goroutine starts with a small stack, and Go copies it to one of twice the size
// each time it is full. A start of minirunc would do that five times, which is 3 % of
// its processor time.
//
// The package imports nothing. So it is initialised before nearly all others, and
// they have the large stack, too.
package boot

func init() { growStack() }

// growStack calls for a stack of 24 KiB and more, and does nothing with it.
func growStack()
