package boot

// needed is what a start uses of Go's heap, about, in bytes.
const needed = 640 << 10

// A page that is mapped when it is touched takes several times as long as one of
// many that are mapped at once. Where is the heap that will be used? After a
// large object, which lies behind all others.
func init() {
	large = make([]byte, 40<<10)
	populate(&large[len(large)-1], needed)
	large = nil
}

var large []byte // a variable, so that it is on the heap

// populate maps the pages after that of a byte: madvise(2), MADV_POPULATE_WRITE,
// which Linux has since 5.14. Before, it does nothing.
func populate(after *byte, bytes int)
