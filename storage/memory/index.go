package memory

import "math/bits"

// maxRows bounds a partition: row numbers are 32 bits, and the index needs free slots.
const maxRows = 3 << 30

// index finds row numbers by hash: open addressing, linear probing from the hash's top bits, at
// most three quarters full. A slot is hash << 32 | row number + 1; 0 is free. The hash in
// the slot spares nearly every look at a key, and lets the index grow without reading any.
type index struct {
	slots []uint64
	used  int
	shift uint // 32 - log2(len(slots))
}

func newIndex(rows int) index {
	log := uint(bits.Len(uint(rows + rows/2)))
	log = min(max(log, 4), 32)
	return index{slots: make([]uint64, 1<<log), shift: 32 - log}
}

func (x *index) home(hash uint32) uint64 { return uint64(hash) >> x.shift }

// find returns the slot of the row whose hash is hash and for which same is true, or the free slot
// where it would go.
func (x *index) find(hash uint32, same func(row uint32) bool) (slot uint64, row uint32, ok bool) {
	mask := uint64(len(x.slots) - 1)
	for i := x.home(hash); ; i = (i + 1) & mask {
		s := x.slots[i]
		if s == 0 {
			return i, 0, false
		}
		if uint32(s>>32) == hash {
			if row := uint32(s) - 1; same(row) {
				return i, row, true
			}
		}
	}
}

// prefetched is for how many hashes at once.
const prefetched = 32

// prefetch reads where rows of these hashes would be, so that the processor waits once for all of them, and not for each in find. It returns how many
// of the slots are taken, for no other reason than that a read of which nothing comes is left out.
//
//go:noinline
func (x *index) prefetch(hashes []uint32) (taken int) {
	for _, hash := range hashes {
		if x.slots[x.home(hash)] != 0 {
			taken++
		}
	}
	return taken
}

// insert puts a row into the free slot that find returned.
func (x *index) insert(slot uint64, hash uint32, row uint32) {
	x.slots[slot] = uint64(hash)<<32 | uint64(row+1)
	if x.used++; x.used > len(x.slots)/4*3 {
		x.grow()
	}
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]uint64, 2*len(old))
	x.shift--
	mask := uint64(len(x.slots) - 1)
	for _, s := range old {
		if s == 0 {
			continue
		}
		i := x.home(uint32(s >> 32))
		for x.slots[i] != 0 {
			i = (i + 1) & mask
		}
		x.slots[i] = s
	}
}

// remove frees a slot and moves later ones of its run back, so that there are no grave markers.
func (x *index) remove(slot uint64) {
	mask := uint64(len(x.slots) - 1)
	hole := slot
	for i := (slot + 1) & mask; x.slots[i] != 0; i = (i + 1) & mask {
		home := x.home(uint32(x.slots[i] >> 32))
		// The entry may fill the hole unless its home lies behind the hole, cyclically in (hole, i].
		if (i-home)&mask >= (i-hole)&mask {
			x.slots[hole] = x.slots[i]
			hole = i
		}
	}
	x.slots[hole] = 0
	x.used--
}
