package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/sketch"
)

const (
	// repairPatience is how long a repair waits for a broker that is busy with those of others.
	repairPatience = 2 * time.Minute
	// repairTries is how often a call is made that fails for a reason that may pass.
	repairTries = 4
	// repairCall bounds one call.
	repairCall = 2 * time.Minute
	// fewKeys is how many keys are always fetched one by one, however few rows there are.
	fewKeys = 1024
)

var errTooMuch = errors.New("so much differs that the whole frame costs less")

// comparison is the search for what differs between a state and the key frame at whose cut it stands. Nothing is applied to the state meanwhile.
type comparison struct {
	cfg      *Config
	no       int32 // of the partition
	log      *slog.Logger
	s        rows
	plane    repairPlane
	until    time.Time // of its patience
	bytesMax int       // of the rows that are fetched

	tags       []uint64      // of the stored rows
	unreadable bool          // they cannot be read
	stored     digest.Digest // of the stored rows, hashed anew
	kept       digest.Digest // that was maintained while they were applied
}

// findings are what a state must change to be equal to the frame.
type findings struct {
	puts    []frame.Row
	deletes [][]byte
	keys    []Difference // by key
}

func (p *partition) comparison(s rows, f frameInfo) *comparison {
	return newComparison(&p.r.cfg, p.log, s, repairPlane{plane: p.r.plane, f: f, replica: p.r.name})
}

func newComparison(cfg *Config, log *slog.Logger, s rows, frame repairPlane) *comparison {
	return &comparison{
		cfg: cfg, no: frame.f.partition, log: log, s: s, plane: frame, until: cfg.Now().Add(repairPatience), bytesMax: repairBytes,
	}
}

// rehash hashes the stored rows.
func (c *comparison) rehash() error {
	c.tags = c.tags[:0]
	c.stored = digest.Digest{}
	kept, at, err := c.s.entries(func(_ []byte, e digest.Entry) {
		c.tags = append(c.tags, tagOf(e))
		c.stored.Add(e)
	})
	c.kept, c.unreadable = kept, err != nil
	if err == nil && at != c.plane.f.cut {
		err = fmt.Errorf("the state is at %d, not at the cut %d", at, c.plane.f.cut)
	}
	return err
}

// cause is known after rehash.
func (c *comparison) cause() Cause {
	if c.unreadable || c.stored != c.kept {
		return LocalCorruption
	}
	return LogicalDrift
}

func tagOf(e digest.Entry) uint64 {
	t := e.Tag()
	return binary.BigEndian.Uint64(t[:])
}

// call makes a call of the repair, and again where that may help.
func (c *comparison) call(ctx context.Context, fn func(context.Context) error) error {
	for try := 1; ; try++ {
		callCtx, cancel := context.WithTimeout(ctx, repairCall)
		err := classifyRepair(fn(callCtx))
		cancel()
		again := try < repairTries && passing(err) || errors.Is(err, errBusy) && c.cfg.Now().Before(c.until)
		if err == nil || ctx.Err() != nil || !again {
			return err
		}
		pause := c.cfg.Retry << min(try-1, 5)
		if err := sleep(ctx, pause/2+rand.N(pause)); err != nil { // not all at once
			return err
		}
	}
}

// bySketch decodes the difference from cells, as long as these cost less than the tags do.
func (c *comparison) bySketch(ctx context.Context) (theirs, ours []uint64, err error) {
	d := sketch.NewDecoder(c.tags)
	most := 8 * max(c.plane.f.digest.Count, int64(len(c.tags)))
	spent := int64(0)
	for n := d.More(); n > 0; n = d.More() {
		if done := int64(d.Cells()); done > 0 && spent+spent*int64(n)/done > most {
			return nil, nil, fmt.Errorf("%w: %d cells do not tell what differs", errTooMuch, done)
		}
		var cells []sketch.Cell
		var size int64
		if err := c.call(ctx, func(ctx context.Context) (err error) {
			cells, size, err = c.plane.sketch(ctx, d.Cells(), n)
			return err
		}); err != nil {
			return nil, nil, err
		}
		spent += size
		if _, err := d.Add(cells); err != nil {
			return nil, nil, err
		}
	}
	theirs, ours = d.Difference()
	return theirs, ours, nil
}

// byTags fetches the tags of all rows and compares.
func (c *comparison) byTags(ctx context.Context) (theirs, ours []uint64, err error) {
	var all []uint64
	if err := c.call(ctx, func(ctx context.Context) (err error) {
		all, err = c.plane.tags(ctx)
		return err
	}); err != nil {
		return nil, nil, err
	}
	own := slices.Clone(c.tags)
	slices.Sort(all)
	slices.Sort(own)
	for len(all) > 0 && len(own) > 0 {
		switch {
		case all[0] == own[0]:
			all, own = all[1:], own[1:]
		case all[0] < own[0]:
			theirs, all = append(theirs, all[0]), all[1:]
		default:
			ours, own = append(ours, own[0]), own[1:]
		}
	}
	return append(theirs, all...), append(ours, own...), nil
}

// resolve fetches the log's rows that we lack, and sorts out what becomes of ours that it does not have.
func (c *comparison) resolve(ctx context.Context, theirs, ours []uint64) (findings, error) {
	if n := int64(len(theirs)); n > max(fewKeys, c.plane.f.digest.Count/2) {
		return findings{}, fmt.Errorf("%w: %d rows of %d", errTooMuch, n, c.plane.f.digest.Count)
	}
	logs, err := c.fetch(ctx, theirs)
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
			d.keys = append(d.keys, Difference{Partition: c.no, Cut: c.plane.f.cut, Key: []byte(key), Here: here})
		}
	}
	for key, l := range logs {
		d.puts = append(d.puts, l.row)
		d.keys = append(d.keys, Difference{Partition: c.no, Cut: c.plane.f.cut, Key: []byte(key), Here: mine[key], Log: l.entry})
	}
	slices.SortFunc(d.puts, func(a, b frame.Row) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	slices.SortFunc(d.deletes, bytes.Compare)
	slices.SortFunc(d.keys, compareKeys)
	return d, nil
}

type logRow struct {
	row   frame.Row
	entry digest.Entry
}

// fetch resolves tags, and takes no row that was not asked for.
func (c *comparison) fetch(ctx context.Context, tags []uint64) (map[string]logRow, error) {
	var h digest.Hasher
	size := 0
	out := make(map[string]logRow, len(tags))
	for part := range slices.Chunk(tags, tagsInRequest) {
		asked := make(map[uint64]bool, len(part))
		for _, t := range part {
			asked[t] = true
		}
		before := size
		err := c.call(ctx, func(ctx context.Context) error {
			size = before // what a call that broke off had brought comes again
			return c.plane.resolve(ctx, part, func(row frame.Row) error {
				e := h.Entry(row.Key, row.Value)
				if !asked[tagOf(e)] {
					return fmt.Errorf("%w: the row of key %.*q has a tag that was not asked for", errLied, keyLogged, row.Key)
				}
				if size += len(row.Key) + len(row.Value) + len(row.Headers); size > c.bytesMax {
					return fmt.Errorf("%w: rows of %d bytes", errTooMuch, size)
				}
				out[string(row.Key)] = logRow{row, e}
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
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
	_, _, err := c.s.entries(func(key []byte, e digest.Entry) {
		if wanted[tagOf(e)] {
			out[string(key)] = e
		}
	})
	return out, err
}
