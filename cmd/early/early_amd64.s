#include "textflag.h"

// The kernel calls the handler on the signal stack of the thread, with the signal's number
// in DI. Its return address is the restorer, which brings back what the thread was doing.

TEXT handler<>(SB), NOSPLIT|NOFRAME, $0
	MOVL DI, ·came(SB)
	RET

TEXT restorer<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ $15, AX // rt_sigreturn
	SYSCALL
	INT  $3      // it does not return

DATA ·handlerPC(SB)/8, $handler<>(SB)
GLOBL ·handlerPC(SB), RODATA|NOPTR, $8
DATA ·restorerPC(SB)/8, $restorer<>(SB)
GLOBL ·restorerPC(SB), RODATA|NOPTR, $8
