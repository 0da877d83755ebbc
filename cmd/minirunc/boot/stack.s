#include "textflag.h"

// func growStack(): a function with 24 KiB of local variables, on every
// architecture. It does not touch them; Go would clear them, and so use the memory.
TEXT ·growStack(SB), 0, $24576-0
	RET
