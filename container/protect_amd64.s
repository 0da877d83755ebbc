#include "go_asm.h"
#include "textflag.h"

// The program's entry, for speed; the linker makes it that (Makefile, -E). A
// program linked without it works as well, and only starts later.
//
// First it does what Protect does, before Go's runtime has begun to boot, which
// would take twenty times as long and be for nothing: if a word of the command
// line is create, exec, -b or begins with --bundle. And as nothing has happened
// yet, it can do without executing the program again: it maps the program's
// file anew, from the read-only mount, over where it is running, and then says
// that this is the process's program, /proc/PID/exe (prctl(2), PR_SET_MM_MAP:
// Linux 3.18 with CONFIG_CHECKPOINT_RESTORE). Where that is refused, it executes
// it again. Whatever else goes wrong here is left to Protect, which looks again.
//
// Then it makes the boot itself short: one thread is enough.
//
// At the entry the stack holds argc, argv, NULL, envp, NULL (System V ABI,
// AMD64 supplement, 3.4.1). System calls take their number in AX, arguments in
// DI, SI, DX, R10, R8, R9, and destroy CX and R11 (syscall(2)).

#define SYS_open          2
#define SYS_close         3
#define SYS_mmap          9
#define SYS_brk           12
#define SYS_statfs        137
#define SYS_prctl         157
#define SYS_execveat      322
#define SYS_open_tree     428
#define SYS_mount_setattr 442

#define AT_FDCWD             $-100
#define AT_EMPTY_PATH        $0x1000
#define OPEN_TREE_CLONE      $0x80001 // |OPEN_TREE_CLOEXEC
#define O_RDONLY             $0x80000 // |O_CLOEXEC
#define MAP_FIXED            $0x12    // |MAP_PRIVATE
#define PR_SET_NAME          $15
#define PR_SET_TIMERSLACK    $29
#define PR_SET_MM            $35
#define PR_SET_MM_MAP        $14
#define ST_RDONLY            $1

// of an ELF file, and of its program headers (elf(5))
#define ELFMAG   $0x464c457f
#define e_phnum  56
#define ehdrsize 64 // the program headers follow the header, as Go's linker lays them out
#define p_type   0
#define p_flags  4
#define p_offset 8
#define p_vaddr  16
#define p_filesz 32
#define phdrsize 56
#define PT_LOAD  $1

// struct prctl_mm_map (linux/prctl.h), on the stack
#define start_code  0(SP)
#define end_code    8(SP)
#define start_data  16(SP)
#define end_data    24(SP)
#define start_brk   32(SP)
#define brk         40(SP)
#define start_stack 48(SP)
#define arg_start   56(SP)
#define arg_end     64(SP)
#define env_start   72(SP)
#define env_end     80(SP)
#define auxv        88(SP)
#define auxv_size   96(SP)
#define exe_fd      100(SP)
#define mapsize     $104

// words of the command line, as the numbers that their bytes are
#define create  $0x00657461657263 // "create", NUL
#define exec    $0x0063657865     // "exec", NUL
#define b       $0x00622d         // "-b", NUL
#define bundle  $0x656c646e75622d2d // "--bundle"

DATA exe<>+0(SB)/8, $"/proc/se"
DATA exe<>+8(SB)/8, $"lf/exe\x00\x00"
GLOBL exe<>(SB), RODATA, $16

DATA fd<>+0(SB)/8, $"/proc/se"
DATA fd<>+8(SB)/8, $"lf/fd/\x00\x00"
GLOBL fd<>(SB), RODATA, $16

DATA comm<>+0(SB)/8, $"minirun\x00"
GLOBL comm<>(SB), RODATA, $8

DATA readonly<>+0(SB)/8, $1 // struct mount_attr: attr_set = MOUNT_ATTR_RDONLY
DATA readonly<>+8(SB)/8, $0
DATA readonly<>+16(SB)/8, $0
DATA readonly<>+24(SB)/8, $0
GLOBL readonly<>(SB), RODATA, $32

DATA oneThread<>+0(SB)/8, $"GOMAXPRO"
DATA oneThread<>+8(SB)/8, $"CS=1\x00\x00\x00\x00"
GLOBL oneThread<>(SB), RODATA, $16

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
	JNE  name

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

	// its file, opened by the number, from the last digit to the first: what
	// open_tree has given is O_PATH, and cannot be mapped
	LEAQ 64(SP), DI
	MOVB $0, (DI)
	MOVL R13, AX
	MOVL $10, CX
digit:
	XORL DX, DX
	DIVL CX
	ADDL $'0', DX
	DECQ DI
	MOVB DX, (DI)
	TESTL AX, AX
	JNE  digit
	SUBQ $14, DI
	MOVQ fd<>+0(SB), AX
	MOVQ AX, 0(DI)
	MOVQ fd<>+6(SB), AX
	MOVQ AX, 6(DI)
	MOVQ $SYS_open, AX
	MOVQ O_RDONLY, SI
	SYSCALL
	TESTQ AX, AX
	JLT  again
	MOVQ AX, R14

	// its segments, mapped over those that are there: the same bytes
	MOVQ $runtime·text(SB), R15
	ANDQ $~4095, R15
	SUBQ $4096, R15 // the page before the code begins with the ELF header
	CMPL (R15), ELFMAG
	JNE  again
	MOVWLZX e_phnum(R15), BP
	ADDQ $ehdrsize, R15
segment:
	CMPL p_type(R15), PT_LOAD
	JNE  next
	MOVL p_flags(R15), AX // PF_X 1, PF_W 2, PF_R 4
	MOVL AX, DX
	ANDL $2, DX           // PROT_WRITE
	MOVL AX, CX
	SHRL $2, CX
	ANDL $1, CX
	ORL  CX, DX           // PROT_READ
	ANDL $1, AX
	SHLL $2, AX
	ORL  AX, DX           // PROT_EXEC
	MOVQ $SYS_mmap, AX
	MOVQ p_vaddr(R15), DI
	MOVQ p_filesz(R15), SI
	MOVQ MAP_FIXED, R10
	MOVQ R14, R8
	MOVQ p_offset(R15), R9
	SYSCALL
	CMPQ AX, DI
	JNE  again
	TESTL $2, p_flags(R15)
	JEQ  next
	ADDQ p_filesz(R15), DI // behind the data begin the variables that are 0
	MOVQ DI, CX
	NEGQ CX
	ANDQ $4095, CX
	XORL AX, AX
	CLD
	REP; STOSB
next:
	ADDQ $phdrsize, R15
	DECL BP
	JNE  segment

	// now nothing of the old file is mapped, and another one can be /proc/PID/exe.
	// All else that the call sets is to stay as it is.
	MOVQ $SYS_brk, AX
	XORL DI, DI
	SYSCALL
	MOVQ AX, start_brk
	MOVQ AX, brk
	MOVQ $runtime·text(SB), AX
	MOVQ AX, start_code
	MOVQ $runtime·etext(SB), AX
	MOVQ AX, end_code
	MOVQ $runtime·noptrdata(SB), AX
	MOVQ AX, start_data
	MOVQ $runtime·edata(SB), AX
	MOVQ AX, end_data
	MOVQ BX, start_stack
	MOVQ (R12), AX
	MOVQ AX, arg_start
	MOVQ (BX), CX
	TESTQ CX, CX
	JEQ  again // no argv[0]
	LEAQ 8(R12)(CX*8), DX // envp
	MOVQ -8(R12)(CX*8), DI // the last word, up to behind its NUL
	XORL AX, AX
	MOVQ $-1, CX
	CLD
	REPN; SCASB
	MOVQ DI, arg_end
	MOVQ DI, env_start
	CMPQ (DX), $0
	JEQ  noEnvironment
	MOVQ (DX), AX
	MOVQ AX, env_start
variable:
	ADDQ $8, DX
	CMPQ (DX), $0
	JNE  variable
	MOVQ -8(DX), DI
	XORL AX, AX
	MOVQ $-1, CX
	REPN; SCASB
noEnvironment:
	MOVQ DI, env_end
	MOVQ $0, auxv
	MOVL $0, auxv_size
	MOVL R14, exe_fd
	MOVQ $SYS_prctl, AX
	MOVQ PR_SET_MM, DI
	MOVQ PR_SET_MM_MAP, SI
	MOVQ SP, DX
	MOVQ mapsize, R10
	XORL R8, R8
	SYSCALL
	TESTQ AX, AX
	JNE  again
	MOVQ $SYS_close, AX
	MOVQ R14, DI
	SYSCALL
	MOVQ $SYS_close, AX
	MOVQ R13, DI
	SYSCALL
	MOVB $1, ·named(SB)
	JMP  boot

again:
	MOVQ (BX), CX
	LEAQ 8(R12)(CX*8), R10 // envp
	MOVQ $SYS_execveat, AX
	MOVQ R13, DI
	LEAQ exe<>+14(SB), SI // ""
	MOVQ R12, DX
	MOVQ AT_EMPTY_PATH, R8
	SYSCALL
	JMP  boot

name:
	// executed by a descriptor, the process has the number of that for its name
	MOVQ $SYS_prctl, AX
	MOVQ PR_SET_NAME, DI
	LEAQ comm<>(SB), SI
	SYSCALL
	MOVB $1, ·named(SB)

boot:
	// see calmSlack
	MOVQ $SYS_prctl, AX
	MOVQ PR_SET_TIMERSLACK, DI
	MOVQ $const_calmSlack, SI
	SYSCALL

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
