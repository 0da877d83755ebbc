#include "textflag.h"

#define SYS_madvise         28
#define MADV_POPULATE_WRITE 23

// func populate(after *byte, bytes int)
TEXT ·populate(SB), NOSPLIT, $0-16
	MOVQ after+0(FP), DI
	ADDQ $4095, DI
	ANDQ $~4095, DI
	MOVQ bytes+8(FP), SI
	MOVQ $MADV_POPULATE_WRITE, DX
	MOVQ $SYS_madvise, AX
	SYSCALL
	RET
