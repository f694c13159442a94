package table

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/keys"
)

// indexer hashes the rows of a frame and writes their index entries in sorted runs.
type indexer struct {
	*loader
	hasher digest.Hasher
	digest digest.Digest
	bytes  int64
	keys   []byte // of the run that is being collected
	found  []loadEntry
}

// loadEntry is an index entry that waits for its run to be sorted.
type loadEntry struct {
	head  uint64 // first bytes of the key, which decide most comparisons
	begin uint32 // of the key in keys
	len   uint32
	entry entry
}

// run takes blocks until there are no more; after an error it goes on taking them, so that the reader never waits for ever.
func (x *indexer) run(blocks <-chan frame.Block, free chan<- []byte) (err error) {
	for b := range blocks {
		if err == nil {
			err = x.block(b)
		}
		free <- b.Bytes()
	}
	if err == nil {
		err = x.endRun()
	}
	return err
}

func (x *indexer) block(b frame.Block) error {
	for r, err := range b.Rows() {
		if err != nil {
			return err
		}
		e := loadEntry{head: head(r.Key), begin: uint32(len(x.keys)), len: uint32(len(r.Key))}
		e.entry = entry{offset: r.Offset, valueLen: uint32(len(r.Value)), hash: x.hasher.Entry(r.Key, r.Value)}
		x.keys = append(x.keys, r.Key...)
		x.found = append(x.found, e)
		x.digest.Add(e.entry.hash)
		x.bytes += int64(len(r.Key)) + int64(len(r.Value))
		if len(x.keys)+len(x.found)*64 >= x.db.sizes.loadBytes {
			if err := x.endRun(); err != nil {
				return err
			}
		}
	}
	return nil
}

// head returns the first eight bytes of a key as a number that orders as they do.
func head(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

func (x *indexer) key(e *loadEntry) []byte { return x.keys[e.begin : e.begin+e.len] }

// endRun sorts the run and writes it; its sstables are ingested after the digest is known to be right.
func (x *indexer) endRun() error {
	slices.SortFunc(x.found, func(a, b loadEntry) int {
		if c := cmp.Compare(a.head, b.head); c != 0 {
			return c
		}
		return bytes.Compare(x.key(&a), x.key(&b))
	})
	s := x.db.sink()
	x.runs = append(x.runs, s)
	k := keys.AppendTablePrefix(nil, keys.TableIndex, x.ordinal)
	var v []byte
	for i := range x.found {
		e := &x.found[i]
		if i > 0 && bytes.Equal(x.key(e), x.key(&x.found[i-1])) {
			return &CorruptError{Ordinal: x.ordinal, What: "frame", Offset: e.entry.offset, Why: "a key twice"}
		}
		k = append(k[:keys.TablePrefixLen], x.key(e)...)
		v = appendEntry(v[:0], &e.entry)
		s.set(keys.TableIndex, k, v)
	}
	x.keys, x.found = x.keys[:0], x.found[:0]
	return s.finish()
}
