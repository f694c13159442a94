//go:build !purego

#include "textflag.h"

// Two SHA-256 streams side by side, block by block (FIPS 180-4, 6.2.2). Each is the instruction sequence of Gulley, Gopal, Yap, Feghali, Guilford and
// Wolrich, "Intel SHA Extensions: New Instructions Supporting the Secure Hash Algorithm on Intel Architecture Processors", Intel, July 2013.
//
//	AX         round constants
//	CX         blocks that are left
//	R8, R9     states of the two streams
//	SI, DI     their next blocks
//	X0         what SHA256RNDS2 takes without being told: message words plus constants
//	X1, X2     first stream: ABEF and CDGH
//	X3 to X6   its message schedule, the last 16 words
//	X7, X8     second stream: ABEF and CDGH
//	X9 to X12  its message schedule
//	X13        scratch
//	X14        the mask that turns words around
//
// The frame keeps both states as they were before a block.

// Rounds 4i to 4i+3 of a stream, m their words. Each SHA256RNDS2 waits for the one before; the other stream's run meanwhile.
#define ROUNDS4(i, m, abef, cdgh) \
	MOVO        m, X0            \
	PADDD       (16*i)(AX), X0   \
	SHA256RNDS2 X0, abef, cdgh   \
	PSHUFD      $0x0e, X0, X0    \
	SHA256RNDS2 X0, cdgh, abef

// The next four words of the schedule, into m0, from the last 16 of them, m0 to m3. m0 has been through SHA256MSG1 with m1.
#define WORDS4(m0, m2, m3) \
	MOVO       m3, X13      \
	PALIGNR    $4, m2, X13  \
	PADDD      X13, m0      \
	SHA256MSG2 m3, m0

#define LOAD4(i, from, m) \
	MOVOU  (16*i)(from), m \
	PSHUFB X14, m

// The same for both streams. PREPARE is what the words that come in a0's place begin with: they are due in three times four rounds. Before, the words that
// are due next must have been made, as they need a0 as it was.
#define FIRST(i, a, b) \
	LOAD4(i, SI, a)       \
	LOAD4(i, DI, b)       \
	ROUNDS(i, a, b)

#define ROUNDS(i, a, b) \
	ROUNDS4(i, a, X1, X2) \
	ROUNDS4(i, b, X7, X8)

#define WORDS(a0, a2, a3, b0, b2, b3) \
	WORDS4(a0, a2, a3)    \
	WORDS4(b0, b2, b3)

#define PREPARE(a0, a1, b0, b1) \
	SHA256MSG1 a1, a0     \
	SHA256MSG1 b1, b0

// A, B, C, ... H in memory to ABEF and CDGH, and back.
#define STATE(from, abef, cdgh) \
	MOVOU   (from), abef          \
	MOVOU   16(from), cdgh        \
	PSHUFD  $0xb1, abef, abef     \
	PSHUFD  $0x1b, cdgh, cdgh     \
	MOVO    abef, X13             \
	PALIGNR $8, cdgh, abef        \
	PBLENDW $0xf0, X13, cdgh

#define STORE(to, abef, cdgh) \
	PSHUFD  $0x1b, abef, abef     \
	PSHUFD  $0xb1, cdgh, cdgh     \
	MOVO    abef, X13             \
	PBLENDW $0xf0, cdgh, abef     \
	PALIGNR $8, X13, cdgh         \
	MOVOU   abef, (to)            \
	MOVOU   cdgh, 16(to)

#define KEEP(at, x) MOVOU x, at(SP)

#define ADDKEPT(at, x) \
	MOVOU at(SP), X13 \
	PADDD X13, x

// func blocks2(stateA, stateB *[8]uint32, a, b *byte, n int)
TEXT ·blocks2(SB), NOSPLIT, $64-40
	MOVQ stateA+0(FP), R8
	MOVQ stateB+8(FP), R9
	MOVQ a+16(FP), SI
	MOVQ b+24(FP), DI
	MOVQ n+32(FP), CX
	TESTQ CX, CX
	JLE  done
	LEAQ roundConstants<>(SB), AX
	MOVOU bigEndian<>(SB), X14
	STATE(R8, X1, X2)
	STATE(R9, X7, X8)

block:
	KEEP(0, X1)
	KEEP(16, X2)
	KEEP(32, X7)
	KEEP(48, X8)

	FIRST(0, X3, X9)
	FIRST(1, X4, X10)
	PREPARE(X3, X4, X9, X10)
	FIRST(2, X5, X11)
	PREPARE(X4, X5, X10, X11)
	FIRST(3, X6, X12)
	WORDS(X3, X5, X6, X9, X11, X12)
	PREPARE(X5, X6, X11, X12)
	ROUNDS(4, X3, X9)
	WORDS(X4, X6, X3, X10, X12, X9)
	PREPARE(X6, X3, X12, X9)
	ROUNDS(5, X4, X10)
	WORDS(X5, X3, X4, X11, X9, X10)
	PREPARE(X3, X4, X9, X10)
	ROUNDS(6, X5, X11)
	WORDS(X6, X4, X5, X12, X10, X11)
	PREPARE(X4, X5, X10, X11)
	ROUNDS(7, X6, X12)
	WORDS(X3, X5, X6, X9, X11, X12)
	PREPARE(X5, X6, X11, X12)
	ROUNDS(8, X3, X9)
	WORDS(X4, X6, X3, X10, X12, X9)
	PREPARE(X6, X3, X12, X9)
	ROUNDS(9, X4, X10)
	WORDS(X5, X3, X4, X11, X9, X10)
	PREPARE(X3, X4, X9, X10)
	ROUNDS(10, X5, X11)
	WORDS(X6, X4, X5, X12, X10, X11)
	PREPARE(X4, X5, X10, X11)
	ROUNDS(11, X6, X12)
	WORDS(X3, X5, X6, X9, X11, X12)
	PREPARE(X5, X6, X11, X12)
	ROUNDS(12, X3, X9)
	WORDS(X4, X6, X3, X10, X12, X9)
	PREPARE(X6, X3, X12, X9)
	ROUNDS(13, X4, X10)
	WORDS(X5, X3, X4, X11, X9, X10)
	ROUNDS(14, X5, X11)
	WORDS(X6, X4, X5, X12, X10, X11)
	ROUNDS(15, X6, X12)

	ADDKEPT(0, X1)
	ADDKEPT(16, X2)
	ADDKEPT(32, X7)
	ADDKEPT(48, X8)
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $1, CX
	JNE  block

	STORE(R8, X1, X2)
	STORE(R9, X7, X8)

done:
	RET

// func cpuid(leaf uint32) (eax, ebx, ecx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-20
	MOVL leaf+0(FP), AX
	XORL CX, CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	RET

DATA bigEndian<>+0(SB)/8, $0x0405060700010203
DATA bigEndian<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL bigEndian<>(SB), RODATA|NOPTR, $16

// The linker puts them at a multiple of 16, as PADDD wants them: it aligns data to the largest power of two, up to 32, that is not larger than it.
DATA roundConstants<>+0(SB)/8, $0x71374491428a2f98
DATA roundConstants<>+8(SB)/8, $0xe9b5dba5b5c0fbcf
DATA roundConstants<>+16(SB)/8, $0x59f111f13956c25b
DATA roundConstants<>+24(SB)/8, $0xab1c5ed5923f82a4
DATA roundConstants<>+32(SB)/8, $0x12835b01d807aa98
DATA roundConstants<>+40(SB)/8, $0x550c7dc3243185be
DATA roundConstants<>+48(SB)/8, $0x80deb1fe72be5d74
DATA roundConstants<>+56(SB)/8, $0xc19bf1749bdc06a7
DATA roundConstants<>+64(SB)/8, $0xefbe4786e49b69c1
DATA roundConstants<>+72(SB)/8, $0x240ca1cc0fc19dc6
DATA roundConstants<>+80(SB)/8, $0x4a7484aa2de92c6f
DATA roundConstants<>+88(SB)/8, $0x76f988da5cb0a9dc
DATA roundConstants<>+96(SB)/8, $0xa831c66d983e5152
DATA roundConstants<>+104(SB)/8, $0xbf597fc7b00327c8
DATA roundConstants<>+112(SB)/8, $0xd5a79147c6e00bf3
DATA roundConstants<>+120(SB)/8, $0x1429296706ca6351
DATA roundConstants<>+128(SB)/8, $0x2e1b213827b70a85
DATA roundConstants<>+136(SB)/8, $0x53380d134d2c6dfc
DATA roundConstants<>+144(SB)/8, $0x766a0abb650a7354
DATA roundConstants<>+152(SB)/8, $0x92722c8581c2c92e
DATA roundConstants<>+160(SB)/8, $0xa81a664ba2bfe8a1
DATA roundConstants<>+168(SB)/8, $0xc76c51a3c24b8b70
DATA roundConstants<>+176(SB)/8, $0xd6990624d192e819
DATA roundConstants<>+184(SB)/8, $0x106aa070f40e3585
DATA roundConstants<>+192(SB)/8, $0x1e376c0819a4c116
DATA roundConstants<>+200(SB)/8, $0x34b0bcb52748774c
DATA roundConstants<>+208(SB)/8, $0x4ed8aa4a391c0cb3
DATA roundConstants<>+216(SB)/8, $0x682e6ff35b9cca4f
DATA roundConstants<>+224(SB)/8, $0x78a5636f748f82ee
DATA roundConstants<>+232(SB)/8, $0x8cc7020884c87814
DATA roundConstants<>+240(SB)/8, $0xa4506ceb90befffa
DATA roundConstants<>+248(SB)/8, $0xc67178f2bef9a3f7
GLOBL roundConstants<>(SB), RODATA|NOPTR, $256
