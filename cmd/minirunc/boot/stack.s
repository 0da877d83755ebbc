#include "textflag.h"

// func growStack(): a function with 24 KiB of local variables. Why not in Go? Go
// would set them to zero, and so have the kernel find memory for all of them.
TEXT ·growStack(SB), 0, $24576-0
	RET
