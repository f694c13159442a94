package live

import (
	"bytes"
	"hash/maphash"
	"slices"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

const (
	nodeBytes  = 96 // memory of a node and its share of bookkeeping
	entryBytes = 72 // of a key
	slabNodes  = 1024
	arenaChunk = 256 << 10
	garbageMin = 4 << 20 // bytes of dropped deltas that are worth a rewrite
)

// kind says what a node is.
type kind uint8

const (
	pending   kind = iota // a delta that waits for the row below it
	known                 // the key's folded state: what was below does not matter any more
	unchanged             // folded too, and every delta was rejected: the row below stands
)

// node is a delta of one key, or the folded state of a key. It never changes once a reader can see it.
type node struct {
	kind      kind
	op        delta.Op
	length    int32 // nodes in the chain
	bytes     int32 // memory of the chain
	prev      *node // the delta before it, for pending ones
	value     []byte
	headers   batch.Headers
	offset    int64
	timestamp int64
}

func (n *node) delta(key []byte) table.Delta {
	return table.Delta{Delta: delta.Delta{Op: n.op, Key: key, Value: n.value, Headers: n.headers}, Offset: n.offset, Timestamp: n.timestamp}
}

// state is what a known or unchanged node says.
func (n *node) state() fold.State {
	return fold.State{Exists: n.op != delta.Delete, Value: n.value}
}

// oldestFirst appends the chain's nodes in offset order.
func (n *node) oldestFirst(dst []*node) []*node {
	begin := len(dst)
	for ; n != nil; n = n.prev {
		dst = append(dst, n)
	}
	slices.Reverse(dst[begin:])
	return dst
}

// entry is a key of the interval. The writer replaces head under the partition's lock.
type entry struct {
	key  []byte
	head *node
}

// slot is a place of the hash table; free without an entry. The hash beside the pointer spares most looks at other keys' entries.
type slot struct {
	hash  uint64
	entry *entry
}

// interval is the tail of the log collapsed per key. One goroutine writes; readers hold the partition's lock, or have a frozen one.
type interval struct {
	seed    maphash.Seed
	slots   []slot // by hash, open addressing
	entries []*entry
	runs    [][]*entry // sorted; together the first sorted entries
	sorted  int
	rejects table.Rejects
	records int64
	bytes   int64 // memory, garbage included
	garbage int64
	names   arena // keys: they outlive a compaction
	space   arena // the rest
}

// arena hands out memory that goes when the last reader of the interval does.
type arena struct {
	chunk   []byte
	nodes   []node
	entries []entry
}

func (a *arena) copy(b []byte) []byte {
	if len(b) == 0 {
		return b[:0:0] // nil stays nil
	}
	if cap(a.chunk)-len(a.chunk) < len(b) {
		if len(b) >= arenaChunk/4 {
			return append(make([]byte, 0, len(b)), b...)
		}
		a.chunk = make([]byte, 0, arenaChunk)
	}
	n := len(a.chunk)
	a.chunk = append(a.chunk, b...)
	return a.chunk[n:len(a.chunk):len(a.chunk)]
}

func (a *arena) node() *node {
	if len(a.nodes) == 0 {
		a.nodes = make([]node, slabNodes)
	}
	n := &a.nodes[0]
	a.nodes = a.nodes[1:]
	return n
}

func (a *arena) entry() *entry {
	if len(a.entries) == 0 {
		a.entries = make([]entry, slabNodes)
	}
	e := &a.entries[0]
	a.entries = a.entries[1:]
	return e
}

func newInterval() *interval {
	return &interval{seed: maphash.MakeSeed()}
}

// find returns the key's entry, nil if the interval does not touch it.
func (iv *interval) find(key []byte) *entry {
	if iv == nil {
		return nil
	}
	return iv.lookUp(key, iv.hash(key))
}

func (iv *interval) hash(key []byte) uint64 { return maphash.Bytes(iv.seed, key) }

func (iv *interval) lookUp(key []byte, hash uint64) *entry {
	if len(iv.slots) == 0 {
		return nil
	}
	mask := uint64(len(iv.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := &iv.slots[i]
		if s.entry == nil || s.hash == hash && bytes.Equal(s.entry.key, key) {
			return s.entry
		}
	}
}

// approach reads what touch will read of keys with these hashes. Each read of a large interval is a miss of the processor's caches; here they do not
// depend on each other, so that they are under way together. It returns something that depends on all of them.
func (iv *interval) approach(hashes []uint64) (seen int) {
	if len(iv.slots) == 0 {
		return 0
	}
	var found [lookAhead]*entry
	mask := uint64(len(iv.slots) - 1)
	for n, hash := range hashes {
		i := hash & mask
		for iv.slots[i].entry != nil && iv.slots[i].hash != hash {
			i = (i + 1) & mask
		}
		found[n] = iv.slots[i].entry
	}
	for _, e := range found[:len(hashes)] {
		if e != nil && len(e.key) > 0 && e.head != nil {
			seen += int(e.key[0]) + int(e.head.kind) + len(e.head.value) // a node may lie on two lines of a cache
		}
	}
	return seen
}

// touch returns the key's entry, a new one without a head if need be. hash is that of the key.
func (iv *interval) touch(key []byte, hash uint64) *entry {
	if e := iv.lookUp(key, hash); e != nil {
		return e
	}
	if (len(iv.entries)+1)*4 > len(iv.slots)*3 {
		iv.grow()
	}
	e := iv.names.entry()
	e.key = iv.names.copy(key)
	iv.entries = append(iv.entries, e)
	iv.place(slot{hash, e})
	iv.bytes += entryBytes + int64(len(key))
	return e
}

func (iv *interval) place(s slot) {
	mask := uint64(len(iv.slots) - 1)
	i := s.hash & mask
	for iv.slots[i].entry != nil {
		i = (i + 1) & mask
	}
	iv.slots[i] = s
}

func (iv *interval) grow() {
	before := iv.slots
	iv.slots = make([]slot, max(64, 2*len(before)))
	for _, s := range before {
		if s.entry != nil {
			iv.place(s)
		}
	}
}

// push makes a node the entry's head: on top of the chain if it is pending, else instead of it. value and headers are kept.
func (iv *interval) push(e *entry, n node) {
	p := iv.space.node()
	*p = n
	p.prev, p.length = nil, 1
	p.bytes = int32(min(nodeBytes+len(n.value)+len(n.headers), 1<<30))
	iv.bytes += int64(p.bytes)
	if old := e.head; old != nil {
		if n.kind == pending && old.kind == pending {
			p.prev, p.length = old, old.length+1
			p.bytes = int32(min(int64(p.bytes)+int64(old.bytes), 1<<30))
		} else {
			iv.garbage += int64(old.bytes)
		}
	}
	e.head = p
}

// wasteful tells whether most of the memory holds what was dropped.
func (iv *interval) wasteful() bool {
	return iv.garbage > garbageMin && iv.garbage*2 > iv.bytes
}

// compact copies the chains that are left to new memory and returns the new heads, by entry: the caller installs them under
// the lock. Readers that still hold old nodes keep their memory.
func (iv *interval) compact() []*node {
	space := arena{}
	heads := make([]*node, len(iv.entries))
	var chain []*node
	for i, e := range iv.entries {
		chain = e.head.oldestFirst(chain[:0])
		var head *node
		for _, n := range chain {
			p := space.node()
			*p = *n
			p.prev, p.value, p.headers = head, space.copy(n.value), batch.Headers(space.copy(n.headers))
			head = p
		}
		heads[i] = head
	}
	iv.space = space
	iv.bytes -= iv.garbage
	iv.garbage = 0
	return heads
}

// sortEntries returns a sorted run of entries that no run has yet; the caller adds it with addRun. Keys never change, so this needs
// no lock.
func sortEntries(list []*entry) []*entry {
	run := slices.Clone(list)
	slices.SortFunc(run, func(a, b *entry) int { return bytes.Compare(a.key, b.key) })
	return run
}

// addRun adds a sorted run of the entries that follow those sorted so far. Runs of like size are merged, so that there are few and a
// key is merged a logarithmic number of times.
func (iv *interval) addRun(run []*entry) {
	iv.sorted += len(run)
	runs := slices.Clone(iv.runs)
	for len(runs) > 0 && len(runs[len(runs)-1]) <= 2*len(run) {
		run = mergeRuns(runs[len(runs)-1], run)
		runs = runs[:len(runs)-1]
	}
	iv.runs = append(runs, run)
}

func mergeRuns(a, b []*entry) []*entry {
	out := make([]*entry, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if bytes.Compare(a[0].key, b[0].key) < 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// inRange returns the part of a sorted run whose keys have the prefix and lie above after.
func inRange(run []*entry, prefix, after []byte) []*entry {
	lo, _ := slices.BinarySearchFunc(run, prefix, func(e *entry, k []byte) int { return bytes.Compare(e.key, k) })
	if after != nil {
		i, found := slices.BinarySearchFunc(run, after, func(e *entry, k []byte) int { return bytes.Compare(e.key, k) })
		if found {
			i++
		}
		lo = max(lo, i)
	}
	run = run[lo:]
	n, _ := slices.BinarySearchFunc(run, prefix, func(e *entry, k []byte) int {
		if bytes.HasPrefix(e.key, k) {
			return -1
		}
		return 1
	})
	return run[:n]
}
