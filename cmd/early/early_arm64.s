#include "textflag.h"

// The kernel calls the handler on the signal stack of the thread, with the signal's number
// in R0. Its return address, in R30, is the restorer, which brings back what the thread was
// doing.

TEXT handler<>(SB), NOSPLIT|NOFRAME, $0
	MOVW R0, ·came(SB)
	RET

TEXT restorer<>(SB), NOSPLIT|NOFRAME, $0
	MOVD $139, R8 // rt_sigreturn
	SVC
	BRK           // it does not return

DATA ·handlerPC(SB)/8, $handler<>(SB)
GLOBL ·handlerPC(SB), RODATA|NOPTR, $8
DATA ·restorerPC(SB)/8, $restorer<>(SB)
GLOBL ·restorerPC(SB), RODATA|NOPTR, $8
