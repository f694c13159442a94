package memory

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"
)

// leafRows is how many row numbers a leaf holds at most; a full one is split in halves.
const leafRows = 512

// order is the set of live rows in key order: leaves of row numbers, none empty.
type order struct{ leaves [][]uint32 }

// buildOrder sorts all rows by key. It compares the first eight bytes in place and looks at keys only where these agree.
func buildOrder(rows []ref, keyOf func(row uint32) []byte) *order {
	type item struct {
		prefix uint64
		row    uint32
	}
	items := make([]item, 0, len(rows))
	for i, r := range rows {
		if r != 0 {
			items = append(items, item{keyPrefix(keyOf(uint32(i))), uint32(i)})
		}
	}
	slices.SortFunc(items, func(a, b item) int {
		if a.prefix != b.prefix {
			if a.prefix < b.prefix {
				return -1
			}
			return 1
		}
		return bytes.Compare(keyOf(a.row), keyOf(b.row))
	})
	o := &order{}
	for part := range slices.Chunk(items, leafRows*3/4) {
		leaf := make([]uint32, len(part), leafRows)
		for i, it := range part {
			leaf[i] = it.row
		}
		o.leaves = append(o.leaves, leaf)
	}
	return o
}

// keyPrefix is the first eight bytes of a key, zero-padded, as a number that sorts as the bytes do.
func keyPrefix(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// seek returns the place of the first row whose key is at or above key; leaf == len(leaves) is the end.
func (o *order) seek(key []byte, keyOf func(row uint32) []byte) (leaf, pos int) {
	leaf = sort.Search(len(o.leaves), func(i int) bool {
		l := o.leaves[i]
		return bytes.Compare(keyOf(l[len(l)-1]), key) >= 0
	})
	if leaf == len(o.leaves) {
		return leaf, 0
	}
	l := o.leaves[leaf]
	return leaf, sort.Search(len(l), func(i int) bool { return bytes.Compare(keyOf(l[i]), key) >= 0 })
}

// insert adds a row whose key is not in the order yet.
func (o *order) insert(row uint32, key []byte, keyOf func(row uint32) []byte) {
	leaf, pos := o.seek(key, keyOf)
	if leaf == len(o.leaves) { // behind the last key
		if leaf == 0 {
			o.leaves = append(o.leaves, append(make([]uint32, 0, leafRows), row))
			return
		}
		leaf--
		pos = len(o.leaves[leaf])
	}
	l := o.leaves[leaf]
	if len(l) == leafRows {
		right := append(make([]uint32, 0, leafRows), l[leafRows/2:]...)
		l = l[:leafRows/2]
		o.leaves[leaf] = l
		o.leaves = slices.Insert(o.leaves, leaf+1, right)
		if pos > leafRows/2 {
			leaf, pos = leaf+1, pos-leafRows/2
			l = right
		}
	}
	o.leaves[leaf] = slices.Insert(l, pos, row)
}

// remove takes out the row with this key; its key must still be readable.
func (o *order) remove(key []byte, keyOf func(row uint32) []byte) {
	leaf, pos := o.seek(key, keyOf)
	if leaf == len(o.leaves) || pos == len(o.leaves[leaf]) {
		return
	}
	if o.leaves[leaf] = slices.Delete(o.leaves[leaf], pos, pos+1); len(o.leaves[leaf]) == 0 {
		o.leaves = slices.Delete(o.leaves, leaf, leaf+1)
	}
}
