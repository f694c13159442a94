package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
)

// DirVerdict is how the copy of one partition in a directory stands to the log.
type DirVerdict struct {
	// Verdict is about the stored rows, hashed anew: Ours is their digest, those that cannot be read in it as they were applied. At is where they were compared:
	// their position, or, where that is no longer in the log, the cut of a key frame above it, up to which they were taken by what has changed since. Its Reason
	// says so.
	Verdict
	// Position is where the directory goes on: everything below it is applied.
	Position int64
	// Cause tells of what differs, and of rows that cannot be read (an Outcome of Error), whether the rows are those that were applied; 0: nothing is
	// wrong with them.
	Cause Cause
	// Differs are the keys that differ at At, and those of rows that cannot be read, by key, also where the log start has passed them: all of them, unless Unnamed
	// says why they could not be found out, or the Outcome is Error; then those alone that cannot be read. The rows here with these replaced have the log's
	// digest. Their size bounds the memory that it takes.
	Differs []Difference
	Unnamed error
	// Repair is what it would cost to make the rows the log's, closely by VerifyDirCosts. A zero Method: it is not known, or there is nothing to repair.
	Repair RepairCost
}

// VerifyDir compares the directory of a replica that is not open (Config.Store is a Dir) with the log, at the directory's own position, and
// changes nothing in it; Brokers are not needed. There is a verdict for each partition that the topic or the directory has, ascending. A partition
// that cannot be compared has the outcome Inconclusive or Error, and the reason. Errors: ErrConfig; ErrDir for what is not a replica's directory
// of this topic, and nothing is created there; engine.ErrLocked while a replica has it open; *damage.Error; and those of the first call
// of the state plane.
//
// By digest first: one pass over the stored rows, and one call. Where that differs, the difference from the key frame that is nearest is found as for a
// repair, after what the log changed between the position and its cut has been taken into account. What is received is about what differs. So of the bytes in
// DirVerdict.Repair it is known what keys and values take, and not what offsets, times and headers do; VerifyDirCosts tells.
func VerifyDir(ctx context.Context, cfg Config) ([]DirVerdict, error) {
	return verifyDir(ctx, cfg, false)
}

// VerifyDirCosts is VerifyDir for who is to know what a repair would take: what key frames take as they are sent is told by their first blocks, 256 KiB of each,
// which are loaded for it.
func VerifyDirCosts(ctx context.Context, cfg Config) ([]DirVerdict, error) {
	return verifyDir(ctx, cfg, true)
}

func verifyDir(ctx context.Context, cfg Config, costs bool) (verdicts []DirVerdict, err error) {
	v, err := newDirVerifier(cfg)
	if err != nil {
		return nil, err
	}
	v.costs = costs
	defer func() { err = errors.Join(err, v.stores.close()) }()
	stop := context.AfterFunc(ctx, v.stores.gate.close) // ends a pass over the rows
	defer stop()
	logs, err := v.logs(ctx, nil)
	if err != nil {
		return nil, err
	}
	numbers, err := v.partitions(logs)
	if err != nil {
		return nil, err
	}
	for _, no := range numbers {
		var d DirVerdict
		if v.sick == nil {
			d = v.verify(ctx, no, logs[no])
		} else {
			d = v.unopened(ctx, no, logs[no])
		}
		if ctx.Err() != nil {
			return verdicts, ctx.Err()
		}
		verdicts = append(verdicts, d)
	}
	return verdicts, nil
}

// CheckDir tells whether a directory is that of a replica of the topic that no process has open, and changes nothing in it. Errors: those of
// VerifyDir, without the state plane's.
func CheckDir(cfg Config) error {
	v, err := newDirVerifier(cfg)
	if err != nil {
		return err
	}
	return v.stores.close()
}

// dirVerifier compares the copies in a directory that is open for reading only.
type dirVerifier struct {
	cfg    Config
	stores *dirStores
	sick   error // why the tables would be set aside if they were opened to follow the log; nil: they would not
	plane  *plane.Plane
	name   string // under which the broker knows who asks
	// differ, where set, is handed the keys that differ as they are found; else they are collected in DirVerdict.Differs.
	differ func(Difference)
	handed bool // some of them were
	costs  bool // somebody is told what a repair takes on the wire
	// sampled are frames, by pub.
	sampled map[[32]byte]wireCost
}

func newDirVerifier(cfg Config) (*dirVerifier, error) {
	cfg = cfg.withDefaults()
	switch {
	case cfg.Topic == "":
		return nil, fmt.Errorf("%w: Topic is empty", ErrConfig)
	case cfg.StateURL == "":
		return nil, fmt.Errorf("%w: StateURL is empty: it is the state plane that a directory is compared with", ErrConfig)
	case cfg.Store.dir == "":
		return nil, fmt.Errorf("%w: Store is no Dir", ErrConfig)
	}
	s, sick, err := openDirReadOnly(cfg)
	if err != nil {
		return nil, inDir(cfg, err)
	}
	return &dirVerifier{
		cfg: cfg, stores: s, sick: sick, plane: plane.New(cfg.HTTPClient, cfg.StateURL, cfg.Topic), name: cmp.Or(cfg.Name, s.name(), newName()),
	}, nil
}

// logInfo is what the state plane says of one partition; info is nil where it does not know it.
type logInfo struct {
	info   *plane.Partition
	frames []plane.Frame
}

// logs asks for what is known of a partition, nil: of all.
func (v *dirVerifier) logs(ctx context.Context, no *int32) (out map[int32]logInfo, err error) {
	err = v.call(ctx, func(ctx context.Context) error {
		out = map[int32]logInfo{}
		return v.plane.Frames(ctx, no, false, func(parts []plane.Partition, frames []plane.Frame) error {
			for _, info := range parts {
				l := out[info.Partition]
				l.info = &info
				out[info.Partition] = l
			}
			for _, f := range frames {
				l := out[f.Partition]
				l.frames = append(l.frames, f)
				out[f.Partition] = l
			}
			return nil
		})
	})
	return out, err
}

// partitions are those that were asked for, or all that the topic or the directory has.
func (v *dirVerifier) partitions(logs map[int32]logInfo) ([]int32, error) {
	all := slices.Collect(maps.Keys(logs))
	for _, p := range v.stores.state.Partitions {
		all = append(all, p.Partition)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if v.cfg.Partitions == nil {
		return all, nil
	}
	for _, no := range v.cfg.Partitions {
		if !slices.Contains(all, no) {
			return nil, fmt.Errorf("%w: neither topic %s nor its copy has partition %d", ErrNoPartition, v.cfg.Topic, no)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(v.cfg.Partitions))), nil
}

func (v *dirVerifier) call(ctx context.Context, fn func(context.Context) error) error {
	return plane.NewPatience(v.cfg.Retry, v.cfg.Now).Call(ctx, fn)
}

// dirCopy is the copy of one partition.
type dirCopy struct {
	rows
	no           int32
	at, start    int64
	stored, kept digest.Digest // of the rows, hashed anew; maintained while they were applied
	unread
}

// verifyTries is how often a partition is compared whose log was trimmed meanwhile.
const verifyTries = 4

func (v *dirVerifier) verify(ctx context.Context, no int32, log logInfo) DirVerdict {
	d := v.verdict(ctx, no, log)
	if log.info != nil && (d.Outcome == Drifted || d.Outcome == Error && d.Cause != 0) {
		d.Repair = d.Repair.refusedIn(log)
	}
	return d
}

func (v *dirVerifier) verdict(ctx context.Context, no int32, log logInfo) DirVerdict {
	d := DirVerdict{Verdict: Verdict{Topic: v.cfg.Topic, Partition: no, Time: v.cfg.Now()}}
	s, ok, err := v.stores.open(no)
	switch {
	case err != nil:
		return d.is(Error, "the stored state cannot be opened", err)
	case !ok:
		d.Repair = v.costOfWhole(ctx, log)
		return d.is(Inconclusive, "the directory has no state of this partition", nil)
	}
	c := &dirCopy{rows: s, no: no, at: s.position(), start: s.logStart()}
	d.At, d.Position, d.start = c.at, c.at, c.start
	c.kept, _, err = s.entries(func(_ []byte, e digest.Entry) { c.stored.Add(e) })
	if dir, ok := s.(*dirRows); err == nil && ok {
		if index := dir.t.VerifyIndex(ctx); index != nil { // else no key may lead to them
			c.unindexed, d.Ours = true, c.stored
			return v.unindexedIn(ctx, v.compareUntil(ctx, d, c, log), c, log, index)
		}
	}
	if err != nil && c.salvage() == nil && c.of != nil {
		d.Ours = c.stored
		return v.unreadIn(ctx, v.compareUntil(ctx, d, c, log), c, log, err)
	}
	if err != nil {
		d.Cause, d.Repair = LocalCorruption, v.costOfUnread(ctx, s, d.start, nearest(log.frames, c.at))
		return d.is(Error, "the stored rows cannot be read", fmt.Errorf("%w: %w", ErrCorrupt, err))
	}
	d.Ours = c.stored
	return v.compareUntil(ctx, d, c, log)
}

// compareUntil is compare, again where the log moved on meanwhile.
func (v *dirVerifier) compareUntil(ctx context.Context, d DirVerdict, c *dirCopy, log logInfo) DirVerdict {
	for try := 1; ; try++ {
		c.forget(v)
		is, err := v.compare(ctx, d, c, log)
		if err == nil || ctx.Err() != nil {
			return is
		}
		if try < verifyTries && movedOn(err) && !v.handed {
			var logs map[int32]logInfo
			if logs, err = v.logs(ctx, &c.no); err == nil {
				log = logs[c.no]
				continue
			}
		}
		if is.Outcome == Drifted { // that much is known
			c.forget(v)
			is.Differs, is.Unnamed = nil, err
			return is
		}
		return d.is(Error, "the state plane did not answer", err)
	}
}

// unopened is the verdict about a partition of tables that are to be set aside, which costs nothing where all its rows can be read.
func (v *dirVerifier) unopened(ctx context.Context, no int32, log logInfo) DirVerdict {
	d := DirVerdict{Verdict: Verdict{Topic: v.cfg.Topic, Partition: no, Time: v.cfg.Now()}}
	i := v.stores.state.find(no)
	if i < 0 || v.stores.state.Partitions[i].Lost {
		d.Repair = v.costOfWhole(ctx, log)
		return d.is(Inconclusive, "the directory has no state of this partition", nil)
	}
	whole := v.wire(ctx, newest(log.frames)).frame
	d.Cause, d.Repair = LocalCorruption, RepairCost{Method: ByFrame, Bytes: whole, FrameBytes: whole}
	if v.stores.copyable(ctx, v.stores.state.Partitions[i]) {
		d.Repair.Method, d.Repair.Bytes = ByRows, 0
	}
	return d.is(Error, "the tables cannot be opened", fmt.Errorf("%w: %w: a repair sets %s aside", ErrCorrupt, v.sick, v.stores.dir.TablePath()))
}

// newest is the frame with the highest cut; zero where there is none.
func newest(frames []plane.Frame) (best plane.Frame) {
	for _, f := range frames {
		if f.Cut >= best.Cut {
			best = f
		}
	}
	return best
}

func (d DirVerdict) is(o Outcome, reason string, err error) DirVerdict {
	d.Outcome, d.Reason, d.Err = o, reason, err
	return d
}
