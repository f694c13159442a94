package keyframer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyframelog/keyframe/storage/table"
)

// Cut is a cut of all partitions of a topic.
type Cut struct {
	Name   string // empty where nothing was ever committed
	TimeMs int64
	// Consistent says that the frames hold whatever was committed anywhere in the topic before anything that they hold.
	// It is false if an open transaction kept a partition's last stable offset below its synced end, or if the ends would
	// not stand still for a moment.
	Consistent bool
	Frames     []PartitionFrame // by partition; partitions that never had a record have none
}

// PartitionFrame is a frame and its partition.
type PartitionFrame struct {
	Partition *Partition
	table.Frame
}

// Cut cuts a key frame of every partition at its synced end. A partition without changes since its newest frame keeps
// that. The name is for now: thinning takes the frames as any others. Errors: ctx's, ErrUnknownTopic, ErrNotKeyFramed, ErrFailed, ErrClosed.
func (k *Keyframer) Cut(ctx context.Context, topic string) (Cut, error) {
	return k.cut(ctx, topic, false)
}

// CutToKeep is Cut for who keeps the name for later: thinning spares the frames, as far as thinTarget says. Errors: as Cut, and those of the tables.
func (k *Keyframer) CutToKeep(ctx context.Context, topic string) (Cut, error) {
	return k.cut(ctx, topic, true)
}

func (k *Keyframer) cut(ctx context.Context, topic string, keep bool) (Cut, error) {
	t, ok := k.Topic(topic)
	if !ok {
		return Cut{}, fmt.Errorf("%w: %s", ErrUnknownTopic, topic)
	}
	if t.Settings().Paused {
		return Cut{}, fmt.Errorf("%w: %s", ErrNotKeyFramed, topic)
	}
	end, err := t.beginCut(ctx)
	if err != nil {
		return Cut{}, err
	}
	defer end()
	return t.cut(ctx, keep)
}

// beginCut waits until no other cut of the topic is under way.
func (t *Topic) beginCut(ctx context.Context) (end func(), err error) {
	select {
	case <-t.cutting:
		return func() { t.cutting <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (t *Topic) cut(ctx context.Context, keep bool) (Cut, error) {
	partitions, timeMs, err := t.hold(nil)
	defer unhold(partitions)
	if err != nil {
		return Cut{}, err
	}
	targets, consistent := ends(partitions)
	// What was committed to a partition that has come meanwhile is in no frame, but may be what a record in one of them follows from.
	consistent = consistent && len(t.Partitions()) == len(partitions)
	requests := make([]*request, len(partitions))
	for i, p := range partitions {
		requests[i] = p.ask(targets[i], timeMs)
	}
	for i, r := range requests {
		if err := partitions[i].await(ctx, r); err != nil {
			return Cut{}, err
		}
	}
	c, err := t.result(partitions, targets, consistent)
	if err != nil || !keep {
		return c, err
	}
	return c, c.keep(ctx) // while no other cut comes: its frames are the newest, which nothing takes
}

// keep marks the frames.
func (c *Cut) keep(ctx context.Context) error {
	if len(c.Frames) == 0 {
		return nil
	}
	cuts := make(map[*table.Table]int64, len(c.Frames))
	for i := range c.Frames {
		f := &c.Frames[i]
		cuts[f.Partition.table], f.Kept = f.Cut, true
	}
	if err := c.Frames[0].Partition.k.cfg.Tables.Keep(ctx, cuts); err != nil {
		return fmt.Errorf("keep the key frames of cut %s: %w", c.Name, err)
	}
	return nil
}

// hold keeps all partitions, or only one, from cutting on their own until unhold, and from applying more until they are asked. It returns
// them, and a time later than all cuts so far.
func (t *Topic) hold(only *Partition) (partitions []*Partition, timeMs int64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.Partitions() {
		p.mu.Lock()
		timeMs = max(timeMs, p.k.nowMs(), p.lastCutMs+1)
		if only == nil || only == p {
			p.held, p.preparing = true, true
			partitions = append(partitions, p)
			err = errors.Join(err, p.errLocked())
		}
		p.mu.Unlock()
	}
	t.heldMs = max(t.heldMs, timeMs)
	return partitions, timeMs, err
}

// unhold lets partitions go and withdraws what was not done.
func unhold(partitions []*Partition) {
	for _, p := range partitions {
		p.mu.Lock()
		p.held, p.preparing, p.request = false, false, nil
		p.mu.Unlock()
		p.k.steps.add(&p.steps)
	}
}

// ask requests a frame at target. Once it is there more is applied, though the other partitions may take long.
func (p *Partition) ask(target, timeMs int64) *request {
	r := &request{target: target, timeMs: timeMs, done: make(chan struct{})}
	p.mu.Lock()
	p.preparing = false
	if err := p.errLocked(); err != nil {
		r.err = err
		close(r.done)
	} else {
		p.request = r
	}
	p.mu.Unlock()
	p.k.steps.add(&p.steps)
	return r
}

// await waits until a request is done.
func (p *Partition) await(ctx context.Context, r *request) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("cut %s/%d at %d: %w", p.topic.Name, p.Index, r.target, ctx.Err())
	}
}

// endsTries bounds how often the ends are read again because they moved; they move once a group commit.
const endsTries = 1000

// ends returns the last stable offsets of one moment: they are read until nothing moved between two readings. Otherwise
// an end that was read late could hold records that depend on ones beyond an end that was read early.
func ends(partitions []*Partition) (targets []int64, consistent bool) {
	targets = make([]int64, len(partitions))
	for try := range endsTries {
		moved, held := try == 0, false
		for i, p := range partitions {
			b := p.log.Bounds()
			moved = moved || targets[i] != b.LastStable
			held = held || b.LastStable < b.Synced
			targets[i] = b.LastStable
		}
		if !moved {
			return targets, !held
		}
	}
	return targets, false
}

func (t *Topic) result(partitions []*Partition, targets []int64, consistent bool) (Cut, error) {
	c := Cut{Consistent: consistent}
	for i, p := range partitions {
		if targets[i] == 0 {
			continue
		}
		f, err := p.table.Frame(targets[i])
		if err != nil {
			return Cut{}, fmt.Errorf("%s/%d: %w", t.Name, p.Index, err)
		}
		c.TimeMs = max(c.TimeMs, f.CutTimeMs)
		c.Frames = append(c.Frames, PartitionFrame{Partition: p, Frame: f})
	}
	if len(c.Frames) > 0 { // an empty topic has no cut that could be named
		c.Name = cutName{timeMs: c.TimeMs, sum: t.sumOfCuts(c.Frames)}.String()
	}
	return c, nil
}

// sumOfCuts is the CRC-32C of the topic's id (16 bytes) and its frames' partitions (4 bytes each) and cuts (8), big-endian, by partition. The id
// keeps topics apart that are written in step.
func (t *Topic) sumOfCuts(frames []PartitionFrame) uint32 {
	b := slices.Clone(t.ID[:])
	for _, f := range frames {
		b = binary.BigEndian.AppendUint32(b, uint32(f.Partition.Index))
		b = binary.BigEndian.AppendUint64(b, uint64(f.Cut))
	}
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

// cutName is a cut's time, and the sum of where it cut which partition of which topic: those that had not changed since an older frame have none
// of that time, and a frame that was dropped since must not be mistaken for one that never was.
type cutName struct {
	timeMs int64
	sum    uint32
}

// cutLayout is the first part of a cut's name, in UTC.
const cutLayout = "cut-20060102T150405.000Z"

func (n cutName) String() string {
	return fmt.Sprintf("%s-%08x", time.UnixMilli(n.timeMs).UTC().Format(cutLayout), n.sum)
}

func parseCutName(s string) (n cutName, ok bool) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 || len(s)-i != 9 {
		return n, false
	}
	at, err := time.Parse(cutLayout, s[:i])
	sum, err2 := strconv.ParseUint(s[i+1:], 16, 32)
	return cutName{timeMs: at.UnixMilli(), sum: uint32(sum)}, err == nil && err2 == nil
}

// IsCutName says whether a text has the form of a cut's name: cut-20060102T150405.000Z-1a2b3c4d.
func IsCutName(s string) bool {
	_, ok := parseCutName(s)
	return ok
}

// otherCut is what a cut is that has a name, and not all of its frames.
const otherCut = "it is of another topic, or one of its key frames is not kept any more"

// Resolve returns the offset of each partition, in the order of Partitions, at a named cut; 0 for one that came later. ErrUnknownCut if there was no
// such cut, or if one of its frames was dropped since.
func (t *Topic) Resolve(name string) ([]int64, error) {
	n, ok := parseCutName(name)
	if !ok {
		return nil, fmt.Errorf("%w: %q is not the name of one", ErrUnknownCut, name)
	}
	partitions := t.Partitions()
	offsets := make([]int64, len(partitions))
	var frames []PartitionFrame
	for i, p := range partitions {
		tab, err := p.Table()
		if errors.Is(err, ErrReopening) {
			return nil, err
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s of %s: %w", ErrUnknownCut, name, t.Name, err)
		}
		f := table.Frame{}
		for _, older := range tab.Named() {
			if older.CutTimeMs <= n.timeMs {
				f = older
			}
		}
		if offsets[i] = f.Cut; f.Cut > 0 {
			frames = append(frames, PartitionFrame{Partition: p, Frame: f})
		}
	}
	if len(frames) == 0 || t.sumOfCuts(frames) != n.sum {
		return nil, fmt.Errorf("%w: %s of %s: %s", ErrUnknownCut, name, t.Name, otherCut)
	}
	return offsets, nil
}
