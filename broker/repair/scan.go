package repair

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/keyframelog/keyframe/broker/deadline"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/sketch"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/table"
)

// kept is what is known of one frame.
type kept struct {
	src   Source
	frame table.Frame
	pub   [32]byte

	ready chan struct{} // closed when the scan has ended; err, tags and offsets are set before
	err   error
	tags  []uint64 // of the rows, in offset order
	at    []int64  // their offsets

	making  chan struct{} // holds one token while nobody makes cells; the next two belong to whoever has it
	encoder *sketch.Encoder
	cells   []sketch.Cell // it only grows: what was made never changes

	// Guarded by the desk's mu.
	uses     int
	last     time.Time
	cellRoom int // so many cells may be made
}

func newKept(src Source, f table.Frame, pub [32]byte) *kept {
	k := &kept{src: src, frame: f, pub: pub, ready: make(chan struct{}), making: make(chan struct{}, 1)}
	k.making <- struct{}{}
	return k
}

// bytes is the memory that the frame takes. The desk's mu is held, unless it is new.
func (k *kept) bytes() int64 {
	return keptBytes + k.frame.Digest.Count*rowBytes + int64(k.cellRoom)*cellBytes
}

// scan reads a frame back, for all who wait for it.
func (d *Desk) scan(k *kept, view *table.View) {
	began := d.cfg.Now()
	err := d.read(k, view)
	err = damage.Join(err, view.Close())
	if err == nil {
		k.encoder = sketch.NewEncoder(k.tags)
		d.metrics.scanSeconds.Observe(d.cfg.Now().Sub(began).Seconds())
	}
	d.scanned(k, err)
}

// read collects tags and offsets, and compares the digest.
func (d *Desk) read(k *kept, view *table.View) error {
	want := k.frame.Digest
	k.tags, k.at = make([]uint64, 0, want.Count), make([]int64, 0, want.Count)
	var h digest.Hasher
	var got digest.Digest
	for row, err := range view.Offsets(0, false) {
		if err != nil {
			return err
		}
		e := h.Entry(row.Key, row.Value)
		got.Add(e)
		if got.Count > want.Count {
			break // memory was admitted for so many
		}
		k.tags, k.at = append(k.tags, tagOf(e)), append(k.at, row.Offset)
		if got.Count%4096 == 1 && d.ctx.Err() != nil {
			return ErrClosed
		}
	}
	if got != want {
		return fmt.Errorf("%w: it stores %d rows or more that hash differently from the %d that were folded", table.ErrDigest, got.Count, want.Count)
	}
	return nil
}

func tagOf(e digest.Entry) uint64 {
	t := e.Tag()
	return binary.BigEndian.Uint64(t[:])
}

// scanned tells those who wait how the scan ended. What failed is not kept: only that it is damaged.
func (d *Desk) scanned(k *kept, err error) {
	if err != nil && isDamage(err) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		d.alarm(k, err)
	}
	now := d.cfg.Now()
	d.mu.Lock()
	k.uses--
	d.reading--
	k.err, k.last = err, now
	if err != nil && d.frames[k.pub] == k {
		delete(d.frames, k.pub)
	}
	d.mu.Unlock()
	close(k.ready)
	deadline.Wake(d.wake)
}

// isDamage says whether an error is about what is stored, and not about reading it at this moment.
func isDamage(err error) bool {
	return errors.Is(err, table.ErrDigest) || errors.Is(err, table.ErrCorrupt)
}

// alarm remembers that a frame is damaged, and tells the operator.
func (d *Desk) alarm(k *kept, err error) {
	d.metrics.corrupt.Inc()
	d.cfg.Logger.Error("a key frame is damaged: no replica is repaired with it. keyframe check finds what is wrong; if the log still holds "+
		"all deltas the table can be folded anew, else restore the data directory from a backup",
		"topic", k.src.Topic, "partition", k.src.Partition, "cut", k.frame.Cut, "error", err)
	d.mu.Lock()
	defer d.mu.Unlock()
	for pub := range d.bad {
		if len(d.bad) < badMax {
			break
		}
		delete(d.bad, pub)
	}
	d.bad[k.pub] = verdict{of: k.src.Table, err: err, at: d.cfg.Now()}
}
