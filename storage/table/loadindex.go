package table

import (
	"encoding/binary"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// indexer hashes the rows of a frame and writes their index entries in sorted runs.
type indexer struct {
	*loader
	hasher  digest.Hasher
	digest  digest.Digest
	bytes   int64
	inBlock []frame.Row
	entries // of the run that is being collected
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
	x.inBlock = x.inBlock[:0]
	for r, err := range b.Rows() {
		if err != nil {
			return err
		}
		x.inBlock = append(x.inBlock, r)
	}
	for i, hash := range x.hasher.Entries(len(x.inBlock), func(i int) (key, value []byte, ok bool) { return x.inBlock[i].Key, x.inBlock[i].Value, true }) {
		r := &x.inBlock[i]
		x.add(r.Key, entry{offset: r.Offset, valueLen: uint32(len(r.Value)), hash: hash})
		x.digest.Add(hash)
		x.bytes += int64(len(r.Key)) + int64(len(r.Value))
		if x.size() >= x.db.sizes.loadBytes {
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

// endRun sorts the run and writes it; its sstables are ingested after the digest is known to be right.
func (x *indexer) endRun() error {
	x.sort()
	s := x.db.sink()
	x.runs = append(x.runs, s)
	if err := x.appendTo(s, x.ordinal); err != nil {
		return err
	}
	x.keys, x.found = x.keys[:0], x.found[:0]
	return s.finish()
}
