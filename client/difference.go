package client

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/table"
)

const (
	// repairBytes bounds the rows of one repair that are held in memory; beyond it a whole frame is loaded.
	repairBytes = 256 << 20
	// fewKeys is how many keys are always fetched one by one, however few rows there are.
	fewKeys = 1024
)

// comparison is the search for what differs between a state and the key frame at whose cut it stands. Nothing is applied to the state meanwhile.
type comparison struct {
	cfg      *Config
	no       int32 // of the partition
	log      *slog.Logger
	s        rows
	plane    plane.Repair
	patience *plane.Patience
	bytesMax int    // of the rows that are fetched
	names    *namer // of the keys that differ, before they are put right; nil: nobody names them

	tags       []uint64        // of the stored rows, the lost ones included
	lost       map[uint64]bool // tags of those that cannot be read
	unreadable bool            // they, or their index, cannot be read
	stored     digest.Digest   // of the stored rows, hashed anew, as far as they can be read
	kept       digest.Digest   // that was maintained while they were applied
}

// findings are what a state must change to be equal to the frame.
type findings struct {
	puts    []frame.Row
	deletes [][]byte
	keys    []Difference // by key
}

func (p *partition) comparison(s rows, f plane.Frame) *comparison {
	return newComparison(&p.r.cfg, p.log, s, plane.Repair{Plane: p.r.plane, Of: f, Replica: p.r.name})
}

func newComparison(cfg *Config, log *slog.Logger, s rows, frame plane.Repair) *comparison {
	return &comparison{
		cfg: cfg, no: frame.Of.Partition, log: log, s: s, plane: frame, patience: plane.NewPatience(cfg.Retry, cfg.Now), bytesMax: repairBytes,
	}
}

// rehash hashes the stored rows.
func (c *comparison) rehash() error {
	c.tags, c.lost = c.tags[:0], map[uint64]bool{}
	c.stored = digest.Digest{}
	kept, at, err := c.s.salvage(func(_ []byte, e digest.Entry) { c.add(e) }, func(row table.LostRow) {
		c.add(row.Entry)
		c.lost[plane.TagOf(row.Entry)] = true
	})
	c.kept, c.unreadable = kept, err != nil
	if err == nil && at != c.plane.Of.Cut {
		err = fmt.Errorf("the state is at %d, not at the cut %d", at, c.plane.Of.Cut)
	}
	return err
}

func (c *comparison) add(e digest.Entry) {
	c.tags = append(c.tags, plane.TagOf(e))
	c.stored.Add(e)
}

// cause is known after rehash.
func (c *comparison) cause() Cause {
	if c.unreadable || len(c.lost) > 0 || c.stored != c.kept {
		return LocalCorruption
	}
	return LogicalDrift
}

// search is the search for what differs from the frame.
func (c *comparison) search() plane.Search {
	return plane.Search{Patience: c.patience, Frames: []*plane.Repair{&c.plane}}
}

// resolve fetches the log's rows that we lack or cannot read, and sorts out what becomes of ours that it does not have.
func (c *comparison) resolve(ctx context.Context, theirs, ours []uint64) (findings, error) {
	fetched := slices.Concat(theirs, c.mislaid(ours))
	if n := int64(len(fetched)); n > max(fewKeys, c.plane.Of.Digest.Count/2) {
		return findings{}, fmt.Errorf("%w: %d rows of %d", plane.ErrTooMuch, n, c.plane.Of.Digest.Count)
	}
	logs, err := c.fetch(ctx, fetched)
	if err != nil {
		return findings{}, err
	}
	mine, err := c.keysOf(ours)
	if err != nil {
		return findings{}, err
	}
	var d findings
	for key, here := range mine {
		if _, ok := logs[key]; !ok {
			d.deletes = append(d.deletes, []byte(key))
			d.keys = append(d.keys, c.difference(key, here, digest.Entry{}))
		}
	}
	for key, l := range logs {
		here, ok := mine[key]
		if !ok && c.lost[plane.TagOf(l.Entry)] {
			here = l.Entry // as it was applied
		}
		d.puts = append(d.puts, l.Row)
		d.keys = append(d.keys, c.difference(key, here, l.Entry))
	}
	slices.SortFunc(d.puts, func(a, b frame.Row) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	slices.SortFunc(d.deletes, bytes.Compare)
	slices.SortFunc(d.keys, compareKeys)
	return d, nil
}

// difference is a key whose row is to be replaced: one that differs, or cannot be read.
func (c *comparison) difference(key string, here, log digest.Entry) Difference {
	d := Difference{Partition: c.no, Cut: c.plane.Of.Cut, Key: []byte(key), Here: here, Log: log}
	if here != (digest.Entry{}) && c.lost[plane.TagOf(here)] {
		d.Here, d.Applied = digest.Entry{}, here
	}
	return d
}

// proves tells whether these keys are all that differ: with the log's rows in their place the state has the frame's digest.
func (c *comparison) proves(keys []Difference) bool {
	is := c.stored
	for _, k := range keys {
		replace(&is, k)
	}
	return is == c.plane.Of.Digest
}

// mislaid are the tags of rows that cannot be read, and that the log has: all but ours alone.
func (c *comparison) mislaid(ours []uint64) []uint64 {
	left := maps.Clone(c.lost)
	for _, t := range ours {
		delete(left, t)
	}
	return slices.Sorted(maps.Keys(left))
}

// fetch resolves tags.
func (c *comparison) fetch(ctx context.Context, tags []uint64) (map[string]plane.Row, error) {
	rows, err := c.search().Resolve(ctx, tags, c.bytesMax)
	if err != nil {
		return nil, err
	}
	out := make(map[string]plane.Row, len(rows))
	for _, row := range rows {
		out[string(row.Key)] = row
	}
	return out, nil
}

// keysOf reads the stored rows once more, for the keys of those with the tags: tags alone are kept of them all.
func (c *comparison) keysOf(tags []uint64) (map[string]digest.Entry, error) {
	wanted := make(map[uint64]bool, len(tags))
	for _, t := range tags {
		wanted[t] = true
	}
	out := make(map[string]digest.Entry, len(tags))
	if len(tags) == 0 {
		return out, nil
	}
	name := func(key []byte, e digest.Entry) {
		if wanted[plane.TagOf(e)] {
			out[string(key)] = e
		}
	}
	_, _, err := c.s.salvage(name, func(row table.LostRow) { name(row.Key, row.Entry) })
	return out, err
}
