#include "textflag.h"

// func growStack(): a function of 24 KiB of local variables, none of which it
// touches, on every architecture. Go would clear them, and so want the memory.
TEXT ·growStack(SB), 0, $24576-0
	RET
