#include "go_asm.h"
#include "textflag.h"

// The program's entry on amd64: the linker makes it that (Makefile, -E). It does
// what Protect does, but before Go's runtime has booted: to boot, and then to be
// executed once more, would take a quarter of a start. Whatever fails here is
// left to Protect, which looks again. In C:
//
//	entry(int argc, char *argv[], char *envp[]) {
//		if (any of argv[1], argv[2], … is "create", "run" or "exec") {
//			statfs("/proc/self/exe", &fs);
//			if (!(fs.f_flags & ST_RDONLY)) {
//				fd = open_tree(AT_FDCWD, "/proc/self/exe", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
//				mount_setattr(fd, "", AT_EMPTY_PATH, &(struct mount_attr){ MOUNT_ATTR_RDONLY }, 32);
//				execveat(fd, "", argv, envp, AT_EMPTY_PATH); // the same program, which begins here again
//			}
//		}
//		prctl(PR_SET_TIMERSLACK, largeSlack);
//		envp = { "GOMAXPROCS=01", envp... }; // minirunc has nothing to do in parallel; Restore removes it
//		goto _rt0_amd64_linux;              // where a Go program begins
//	}
//
// The kernel puts argc, argv, NULL, envp, NULL on the stack (System V ABI, AMD64
// supplement, section 3.4.1). A system call has its number in AX and its arguments
// in DI, SI, DX, R10, R8. It returns -errno in AX, and destroys CX and R11
// (syscall(2)).

DATA exe<>+0(SB)/8, $"/proc/se"
DATA exe<>+8(SB)/8, $"lf/exe\x00\x00"
GLOBL exe<>(SB), RODATA, $16

DATA readonly<>+0(SB)/8, $1 // struct mount_attr: attr_set = MOUNT_ATTR_RDONLY, all else 0
GLOBL readonly<>(SB), RODATA, $32

DATA oneThread<>+0(SB)/8, $"GOMAXPRO"
DATA oneThread<>+8(SB)/8, $"CS=01\x00\x00\x00"
GLOBL oneThread<>(SB), RODATA, $16

TEXT _minirunc_linux_amd64(SB), NOSPLIT|NOFRAME, $0
	MOVQ SP, BX       // &argc: Go's runtime will look for it in SP
	LEAQ 8(BX), R12   // argv
	LEAQ 16(BX), DX   // &argv[1]
word:
	MOVQ (DX), SI
	ADDQ $8, DX
	TESTQ SI, SI
	JZ   boot
	MOVL (SI), AX // the word's first four bytes. Reading past its end is safe: the environment follows
	CMPL AX, $0x006e7572 // "run\0": the first byte is the lowest
	JEQ  protect
	CMPL AX, $0x63657865 // "exec"
	JEQ  exec
	CMPL AX, $0x61657263 // "crea"
	JNE  word
	MOVL 4(SI), AX
	SHLL $8, AX
	CMPL AX, $0x00657400 // "te\0"
	JEQ  protect
	JMP  word
exec:
	CMPB 4(SI), $0
	JNE  word

protect:
	SUBQ $128, SP // struct statfs
	MOVQ $137, AX // statfs
	LEAQ exe<>(SB), DI
	MOVQ SP, SI
	SYSCALL
	TESTQ AX, AX
	JNE  boot
	TESTQ $1, 80(SP) // f_flags & ST_RDONLY
	JNE  boot

	MOVQ $428, AX   // open_tree
	MOVQ $-100, DI  // AT_FDCWD
	LEAQ exe<>(SB), SI
	MOVQ $0x80001, DX // OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
	SYSCALL
	TESTQ AX, AX
	JLT  boot
	MOVQ AX, DI     // fd, and it stays there

	MOVQ $442, AX   // mount_setattr
	LEAQ exe<>+14(SB), SI // ""
	MOVQ $0x1000, DX // AT_EMPTY_PATH
	LEAQ readonly<>(SB), R10
	MOVQ $32, R8
	SYSCALL
	TESTQ AX, AX
	JNE  boot

	MOVQ $322, AX   // execveat
	MOVQ R12, DX    // argv
	MOVQ (BX), CX
	LEAQ 8(R12)(CX*8), R10 // envp
	MOVQ $0x1000, R8 // AT_EMPTY_PATH
	SYSCALL

boot:
	MOVQ $157, AX   // prctl
	MOVQ $29, DI    // PR_SET_TIMERSLACK
	MOVQ $const_largeSlack, SI
	SYSCALL

	// argc, argv and their NULL go down by one place: what is free then is envp[0]
	MOVQ BX, SI
	LEAQ -8(BX), DI
	MOVQ (BX), CX
	ADDQ $2, CX
	CLD
	REP; MOVSQ
	LEAQ oneThread<>(SB), AX
	MOVQ AX, (DI)
	LEAQ -8(BX), SP
	JMP  _rt0_amd64_linux(SB)
