package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/keyframelog/keyframe/client"
)

// flip changes a bit of a row in the files of a replica that is closed, and opens it again.
func (f *field) flip(ctx context.Context) (found Finding, err error) {
	dir := filepath.Join(f.s.dir, "flipped")
	x := f.subject(f.s.kafkaAddr(), client.Dir(dir))
	if err := x.open(ctx); err != nil {
		return found, err
	}
	key, row, err := f.anyRow(ctx, x)
	if err := errors.Join(err, x.close()); err != nil {
		return found, err
	}
	found = Finding{Fault: Flipped, Topic: f.topic, Injected: row.Offset, By: ByChecksum, Harmed: 1}
	if err := flipBit(dir, row.Value); err != nil {
		return found, err
	}
	flipped := time.Now()
	mark := x.mark()
	if err := x.open(ctx); err != nil {
		return found, err
	}
	f.others = append(f.others, x)
	if now, ok, err := x.Get(ctx, []byte(key)); err == nil && (!ok || !bytes.Equal(now.Value, row.Value)) {
		return found, fmt.Errorf("topic %s: the replica shows a wrong row of key %q", f.topic, key)
	}
	x.Scrub(ctx)
	told, at, err := x.await(ctx, "what the scrub finds, or the opening", mark, note.corrupt)
	if err != nil {
		return found, err
	}
	found.After, found.Detected = told.at.Sub(flipped), true
	aside := told.event != nil
	if aside {
		err = f.awaitReplaced(ctx, x, &found, told, at)
	} else {
		found.At = told.verdict.At
		err = f.awaitRepair(ctx, x, &found, told, at)
	}
	if err != nil {
		return found, err
	}
	named := x.differing()
	// Which of the rows in a block have rotted nobody can tell: all of them come anew, and no others.
	if found.Repaired, err = f.equalAtNext(ctx, x); err != nil {
		return found, err
	}
	now, ok, err := x.Get(ctx, []byte(key))
	found.Exact = ok && bytes.Equal(now.Value, row.Value) && (aside || named[key] && int64(len(named)) == found.Keys)
	return found, err
}

// corrupt tells whether a note says that stored rows are not what was applied: the verdict of a scrub, or the event of who could not even open them.
func (n note) corrupt() bool {
	return n.verdict != nil && errors.Is(n.verdict.Err, client.ErrCorrupt) || n.event != nil && n.event.Kind == client.CorruptionFound
}

// awaitReplaced measures how a table that could not be opened is replaced: where there are so few rows that all of them are in the block with the bit, it is
// set aside, and a whole key frame is loaded, whatever the policy that lets it be opened at all.
func (f *field) awaitReplaced(ctx context.Context, x *subject, found *Finding, told note, from int) error {
	done, _, err := x.awaitEvent(ctx, from, client.Bootstrapped)
	if err != nil {
		return err
	}
	found.At, found.In, found.Method = done.event.Offset, done.at.Sub(told.at), client.ByFrame
	found.Keys, found.Bytes = done.event.Rows, done.bytes-told.bytes
	found.WholeFrame, err = f.s.wholeFrame(ctx, f.topic, done.event.Offset)
	return err
}

// anyRow returns a row of the replica whose value is in its files as it is, once the replica is at the log's end.
func (f *field) anyRow(ctx context.Context, x *subject) (key string, row client.Row, err error) {
	end, err := f.s.end(ctx, f.topic)
	if err != nil {
		return "", row, err
	}
	if err := x.WaitFor(ctx, 0, end); err != nil {
		return "", row, err
	}
	key = fmt.Sprintf("key-%012d", (f.next+f.cfg.Keys/2)%f.cfg.Keys) // not of those that were changed last
	row, ok, err := x.Get(ctx, []byte(key))
	if err == nil && !ok {
		err = fmt.Errorf("topic %s: the replica does not have key %q", f.topic, key)
	}
	return key, row, err
}

var errNotStored = errors.New("the value is in none of the files")

// flipBit flips one bit of a value wherever it stands in the files of a directory.
func flipBit(dir string, value []byte) error {
	times := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		i := bytes.Index(b, value)
		if i < 0 {
			return nil
		}
		times++
		b[i+len(value)/2] ^= 1
		return os.WriteFile(path, b, 0o644)
	})
	if err == nil && times == 0 {
		err = fmt.Errorf("%w of %s", errNotStored, dir)
	}
	return err
}
