// Package blobfile reads values straight out of the blob files that Pebble keeps large values in (package sstable/blob has their format),
// beside Pebble's block cache: a reader of a whole log wants each block once, and its bytes where it says, not in a cache from which it has
// to copy them.
//
//	f, err := blobfile.Open(fs, path)
//	...
//	extent, ok := f.Extent(at.Block)
//	block := chunk[:extent.Length]
//	err = f.Read(extent, block)
//	from, to, ok := blobfile.Find(block, at.Value)
//
// An iterator tells where a value lies (LocationOf), and keeps the file from being deleted until it is closed; an open File is good for longer.
// Nothing here checks a checksum of a block: whoever reads knows what the value must be (a record batch has its own), and has Pebble read it
// where it is not that. Nothing that is in a file makes a reader panic.
package blobfile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/blob"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/sstable/colblk"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Location is where a value lies.
type Location struct {
	File  uint64 // its number, of which Name makes the file's name
	Block uint32
	Value uint32 // the how-manieth in its block
}

// LocationOf tells where the value under an iterator lies, without fetching it; false: in no blob file.
func LocationOf(v pebble.LazyValue) (Location, bool) {
	if v.Fetcher == nil || v.Fetcher.BlobFileID == 0 {
		return Location{}, false
	}
	at := blob.DecodeHandleSuffix(v.ValueOrHandle)
	return Location{File: uint64(v.Fetcher.BlobFileID), Block: uint32(at.BlockID), Value: uint32(at.ValueID)}, true
}

// Name is the name of the file with a number, as it was written first. One that Pebble has written anew since (without values that are
// garbage) has another name, and locations are found in it in another way: it is not read here.
func Name(number uint64) string { return fmt.Sprintf("%06d.blob", number) }

// File is one open blob file. Its methods may be called from any goroutine until Close.
type File struct {
	file   vfs.File
	blocks []uint64 // where each block begins, and where the last one ends
}

// ErrRewritten says that a file is one that Pebble has written anew.
var ErrRewritten = errors.New("the blob file was written anew")

// Open opens a blob file and reads its index, which is checked.
func Open(fs vfs.FS, path string) (*File, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	blocks, err := readIndex(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &File{file: f, blocks: blocks}, nil
}

// borrowed is a file that outlives the reader of its index.
type borrowed struct{ vfs.File }

func (borrowed) Close() error { return nil }

func readIndex(f vfs.File) (blocks []uint64, err error) {
	defer func() { // a decoder's, of an index with a good checksum that is none
		if r := recover(); r != nil {
			err = fmt.Errorf("index of a blob file: %v", r)
		}
	}()
	readable, err := sstable.NewSimpleReadable(borrowed{f})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	r, err := blob.NewFileReader(ctx, readable, blob.FileReaderOptions{})
	if err != nil {
		return nil, errors.Join(err, readable.Close())
	}
	defer r.Close()
	h, err := r.ReadIndexBlock(ctx, block.ReadEnv{}, nil)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	data := h.BlockData()
	if binary.LittleEndian.Uint32(data) != 0 {
		return nil, ErrRewritten
	}
	const header, offsets = 4, 1
	d := colblk.DecodeBlock(data, header)
	column := colblk.DecodeColumn(&d, offsets, d.Rows()+1, colblk.DataTypeUint, colblk.DecodeUnsafeUints)
	blocks = make([]uint64, d.Rows()+1)
	for i := range blocks {
		blocks[i] = column.At(i)
	}
	return blocks, nil
}

// Close gives the file back.
func (f *File) Close() error { return f.file.Close() }

// Extent is where in its file a block lies, with its trailer.
type Extent struct {
	Offset int64
	Length int
}

// Extent returns that of a block; false: there is no such block.
func (f *File) Extent(blockID uint32) (Extent, bool) {
	if int64(blockID)+1 >= int64(len(f.blocks)) {
		return Extent{}, false
	}
	from, to := f.blocks[blockID], f.blocks[blockID+1]
	const most = 1 << 31 // a value is no longer than that
	if to <= from || to-from > most {
		return Extent{}, false
	}
	return Extent{int64(from), int(to - from)}, true
}

// Read reads a block into b, of Extent.Length bytes.
func (f *File) Read(e Extent, b []byte) error {
	n, err := f.file.ReadAt(b, e.Offset)
	if n == len(b) {
		return nil // an io.EOF may come with the last bytes of a file
	}
	return err
}
