#include "go_asm.h"
#include "textflag.h"

// The program's entry, for speed; the linker makes it that (Makefile, -E). A
// program linked without it works as well, and only starts later.
//
// First it does what Protect does, before Go's runtime has begun to boot, which
// would take twenty times as long and be for nothing: if a word of the command
// line is create, exec, -b or begins with --bundle. Whatever goes wrong here is
// left to Protect, which looks again.
//
// Then it makes the boot itself short: one thread is enough, and the runtime
// does as GOMAXPROCS says; one processor, too; and what is touched page by page,
// all over the program's code and variables, is mapped at once. Linux 5.14, else
// it is not.
//
// At the entry the stack holds argc, argv, NULL, envp, NULL (System V ABI,
// AMD64 supplement, 3.4.1). System calls take their number in AX, arguments in
// DI, SI, DX, R10, R8, and destroy CX and R11 (syscall(2)).

#define SYS_read          0
#define SYS_open          2
#define SYS_close         3
#define SYS_madvise       28
#define SYS_statfs        137
#define SYS_prctl         157
#define SYS_setaffinity   203 // sched_setaffinity
#define SYS_getaffinity   204
#define SYS_getcpu        309
#define SYS_execveat      322
#define SYS_open_tree     428
#define SYS_mount_setattr 442

#define O_CLOEXEC          $0x80000
#define AT_FDCWD           $-100
#define AT_EMPTY_PATH      $0x1000
#define OPEN_TREE_CLONE    $0x80001 // |OPEN_TREE_CLOEXEC
#define PR_SET_TIMERSLACK  $29
#define MADV_POPULATE_READ  $22
#define MADV_POPULATE_WRITE $23
#define ST_RDONLY          $1

// words of the command line, as the numbers that their bytes are
#define create  $0x00657461657263 // "create", NUL
#define exec    $0x0063657865     // "exec", NUL
#define b       $0x00622d         // "-b", NUL
#define bundle  $0x656c646e75622d2d // "--bundle"

DATA exe<>+0(SB)/8, $"/proc/se"
DATA exe<>+8(SB)/8, $"lf/exe\x00\x00"
GLOBL exe<>(SB), RODATA, $16

DATA possible<>+0(SB)/8, $"/sys/dev"
DATA possible<>+8(SB)/8, $"ices/sys"
DATA possible<>+16(SB)/8, $"tem/cpu/"
DATA possible<>+24(SB)/8, $"possible"
DATA possible<>+32(SB)/1, $0
GLOBL possible<>(SB), RODATA, $33

DATA readonly<>+0(SB)/8, $1 // struct mount_attr: attr_set = MOUNT_ATTR_RDONLY
DATA readonly<>+8(SB)/8, $0
DATA readonly<>+16(SB)/8, $0
DATA readonly<>+24(SB)/8, $0
GLOBL readonly<>(SB), RODATA, $32

DATA oneThread<>+0(SB)/8, $"GOMAXPRO"
DATA oneThread<>+8(SB)/8, $"CS=1\x00\x00\x00\x00"
GLOBL oneThread<>(SB), RODATA, $16

// madvise(from, to - from, advice), by whole pages
#define ADVISE(from, to, advice) \
	MOVQ $SYS_madvise, AX \
	LEAQ from, DI         \
	ANDQ $~4095, DI       \
	LEAQ to, SI           \
	SUBQ DI, SI           \
	MOVQ advice, DX       \
	SYSCALL

// sched_getaffinity or sched_setaffinity(0, 128, set)
#define AFFINITY(call, set) \
	MOVQ $call, AX \
	XORQ DI, DI    \
	MOVQ $128, SI  \
	MOVQ set, DX   \
	SYSCALL

TEXT _protect_linux_amd64(SB), NOSPLIT|NOFRAME, $0
	MOVQ SP, BX  // what Go's runtime will want to find in SP
	LEAQ 8(BX), R12 // argv

	// is there one of the words?
	LEAQ 8(R12), DX
word:
	MOVQ (DX), SI
	TESTQ SI, SI
	JZ   boot
	MOVQ (SI), AX // a word's bytes, and some of the next: behind them all lie 8 NULs
	MOVQ bundle, CX
	CMPQ AX, CX
	JEQ  found
	MOVQ AX, DI
	SHLQ $8, DI
	MOVQ create, CX
	SHLQ $8, CX
	CMPQ DI, CX
	JEQ  found
	SHLQ $16, DI
	MOVQ exec, CX
	SHLQ $24, CX
	CMPQ DI, CX
	JEQ  found
	SHLQ $16, DI
	MOVQ b, CX
	SHLQ $40, CX
	CMPQ DI, CX
	JEQ  found
	ADDQ $8, DX
	JMP  word

found:
	// statfs("/proc/self/exe", SP): is it read-only already?
	SUBQ $128, SP
	MOVQ $SYS_statfs, AX
	LEAQ exe<>(SB), DI
	MOVQ SP, SI
	SYSCALL
	TESTQ AX, AX
	JNE  boot
	TESTQ ST_RDONLY, 80(SP) // f_flags
	JNE  boot

	// a copy of the mount that the program is on, attached nowhere, read-only
	MOVQ $SYS_open_tree, AX
	MOVQ AT_FDCWD, DI
	LEAQ exe<>(SB), SI
	MOVQ OPEN_TREE_CLONE, DX
	SYSCALL
	TESTQ AX, AX
	JLT  boot
	MOVQ AX, R13
	MOVQ $SYS_mount_setattr, AX
	MOVQ R13, DI
	LEAQ exe<>+14(SB), SI // ""
	MOVQ AT_EMPTY_PATH, DX
	LEAQ readonly<>(SB), R10
	MOVQ $32, R8
	SYSCALL
	TESTQ AX, AX
	JNE  boot

	MOVQ (BX), CX
	LEAQ 8(R12)(CX*8), R10 // envp
	MOVQ $SYS_execveat, AX
	MOVQ R13, DI
	LEAQ exe<>+14(SB), SI // ""
	MOVQ R12, DX
	MOVQ AT_EMPTY_PATH, R8
	SYSCALL

boot:
	// see calmSlack
	MOVQ $SYS_prctl, AX
	MOVQ PR_SET_TIMERSLACK, DI
	MOVQ $const_calmSlack, SI
	SYSCALL

	ADVISE(runtime·text(SB), runtime·etext(SB), MADV_POPULATE_READ)
	ADVISE(runtime·noptrdata(SB), runtime·ebss(SB), MADV_POPULATE_WRITE)

	// GOMAXPROCS=1 before the environment: argc and argv make room for it
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
