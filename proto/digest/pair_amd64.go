//go:build !purego

package digest

// paired tells whether the processor has what blocks2 is made of.
var paired = supported()

func supported() bool {
	const (
		ssse3 = 1 << 9  // leaf 1, ECX
		sse41 = 1 << 19 // leaf 1, ECX
		sha   = 1 << 29 // leaf 7, EBX
	)
	if leaves, _, _ := cpuid(0); leaves < 7 {
		return false
	}
	_, _, one := cpuid(1)
	_, seven, _ := cpuid(7)
	return one&(ssse3|sse41) == ssse3|sse41 && seven&sha != 0
}

// cpuid asks for subleaf 0 of a leaf. Package golang.org/x/sys/cpu says nothing of SHA on this architecture.
func cpuid(leaf uint32) (eax, ebx, ecx uint32)

// blocks2 takes n blocks at a into stateA, and n at b into stateB. The states are two; the blocks may be the same.
//
//go:noescape
func blocks2(stateA, stateB *[8]uint32, a, b *byte, n int)
