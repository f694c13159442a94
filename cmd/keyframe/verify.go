package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/engine"
)

func newVerifyCommand() *cobra.Command {
	var (
		dir    string
		at     string
		source sourceFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "verify TOPIC --dir DIR | TOPIC [FILE]",
		Short: "Compare a copy of a topic's state with the log, and name the keys that differ",
		Long: `With --dir it compares the directory of a replica that is not running, at the position where the replica left off, and changes nothing
in it. By digest first: the stored rows are hashed anew, and where all is well the log is asked for its digest and no more. Where it differs, the
keys are found at the cost of the difference, and printed as keyframe diff prints them: + the log alone has the key, - the copy alone has it, ~ the
values differ; behind the key stand the hashes of the rows, here and in the log. A row that the disk has damaged is said to be one that cannot be read, and
where the log has another one than was applied, so is what was applied; ? says that what the log has of it is not known. keyframe repair puts right what differs; where the broker would refuse that, this
is said.

Without it, it compares a dump of rows of any system, FILE or standard input, with the topic at a cut that is made before the first line is read, or
at an earlier one (--at). By digest first, then by difference. keyframe reconcile writes what differs.

` + sourceLong + `

` + atLong + `

The exit status is that of diff(1): 0 if the copy is equal to the log, 1 if it differs or keys of it were written since the cut, 2 for trouble, such as a
position that the log no longer knows.`,
		Example: `  keyframe verify users --dir ./users-replica
  psql -Atc "select id, row_to_json(u) from users u" -F $'\t' | keyframe verify users`,
		Args:              sourceArguments,
		ValidArgsFunction: completeTopic,
		Annotations:       map[string]string{troubleAnnotation: ""},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if dir == "" {
				return verifySource(cmd, c, args, source, at, asJSON)
			}
			changed := cmd.Flags().Changed
			if len(args) > 1 || changed("at") || changed("input") || changed("separator") {
				return errors.New("--dir and a dump (FILE, --at, --input, --separator) are both named: compare one of them")
			}
			return verifyDir(cmd, c, args[0], dir, asJSON, false)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the directory of a replica that is not running")
	source.addFlags(cmd)
	addCutFlag(cmd, &at)
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line: short for --format jsonl")
	must(cmd.MarkFlagDirname("dir"))
	addSettings(cmd, "state-url", "format")
	return cmd
}

// verifyDir prints how a directory stands to the log; costs: and what a repair would cost.
func verifyDir(cmd *cobra.Command, c *config, topic, dir string, asJSON, costs bool) error {
	p, err := newDifferPrinter(cmd, c, asJSON, differSides{})
	if err != nil {
		return err
	}
	verify := client.VerifyDir
	if costs {
		verify = client.VerifyDirCosts
	}
	verdicts, err := verify(cmd.Context(), client.Config{
		StateURL: c.str("state-url"), Topic: topic, Store: client.Dir(dir), Logger: slog.New(slog.DiscardHandler), // what is wrong is printed here
	})
	if err != nil {
		return adviseCopy(topic, dir, stateError(c, err))
	}
	d := dirReport{p: p, topic: topic, dir: dir, costs: costs}
	for _, v := range verdicts {
		if v.Err != nil {
			v.Err = stateError(c, v.Err)
		}
		if v.Unnamed != nil {
			v.Unnamed = stateError(c, v.Unnamed)
		}
		if err := d.partition(v); err != nil {
			return err
		}
	}
	return d.end(cmd)
}

// adviseCopy says what to do about a directory that cannot be verified as it is.
func adviseCopy(topic, dir string, err error) error {
	var damaged *damage.Error
	switch {
	case errors.Is(err, engine.ErrLocked):
		return fmt.Errorf("%w\n  A replica that runs verifies itself: keyframe replica list %s prints how it stands", err, topic)
	case errors.Is(err, engine.ErrNotADataDir):
		return fmt.Errorf("%w\n  keyframe replica run %s --dir DIR makes a copy in a directory", err, topic)
	case errors.As(err, &damaged):
		return adviseDir(dir, err)
	}
	return err
}

// dirReport prints verdicts about a directory.
type dirReport struct {
	p          *differPrinter
	topic, dir string
	costs      bool

	drifted, unsure, failed int
	refused, disputed       int // of those
	cost                    client.RepairCost
}

func (r *dirReport) partition(v client.DirVerdict) error {
	switch v.Outcome {
	case client.Equal:
	case client.Drifted:
		r.drifted++
	case client.Inconclusive:
		r.unsure++
	default:
		r.failed++
	}
	columns, values := dirFact(v)
	said := v.Verdict
	if v.Outcome == client.Inconclusive {
		said.Err = nil // the reason says it
	}
	if v.Cause != 0 && v.Outcome == client.Drifted {
		said.Reason = v.Cause.String() + ": " + said.Reason
	}
	if err := r.p.fact(verdictText(said), columns, values...); err != nil {
		return err
	}
	r.p.sides = differSides{here: fmt.Sprintf("%s at %d:%d", r.dir, v.Partition, v.At), log: fmt.Sprintf("%s at %d:%d", r.topic, v.Partition, v.At)}
	for _, d := range v.Differs {
		if err := r.p.key(d); err != nil {
			return err
		}
	}
	if v.Unnamed != nil {
		if err := r.p.fact(fmt.Sprintf("partition %d: which keys differ could not be found out: %v", v.Partition, v.Unnamed),
			[]string{"partition", "unnamed"}, v.Partition, v.Unnamed.Error()); err != nil {
			return err
		}
	}
	switch {
	case v.Repair.Refused != nil:
		if err := r.refusal(v); err != nil {
			return err
		}
	case r.costs:
		if err := r.costOf(v); err != nil {
			return err
		}
	}
	return r.p.flush()
}

// dirFact is a verdict in JSON.
func dirFact(v client.DirVerdict) (columns []string, values []any) {
	columns, values = verdictFact(v.Verdict)
	cause := any(absent{})
	if v.Cause != 0 {
		cause = v.Cause.String()
	}
	return append(columns, "position", "cause"), append(values, v.Position, cause)
}

// refusal says that a partition would not be repaired, and why.
func (r *dirReport) refusal(v client.DirVerdict) error {
	r.refused++
	if errors.Is(v.Repair.Refused, client.ErrDisputed) {
		r.disputed++
	}
	return r.p.fact(fmt.Sprintf("partition %d: a repair would be refused: %v", v.Partition, v.Repair.Refused), []string{"partition", "refused"},
		v.Partition, v.Repair.Refused.Error())
}

// costOf says what a repair of the partition would cost.
func (r *dirReport) costOf(v client.DirVerdict) error {
	cost := v.Repair
	switch {
	case v.Outcome == client.Equal, cost.Method == "":
		return nil
	}
	r.cost.Keys, r.cost.Bytes, r.cost.FrameBytes = r.cost.Keys+cost.Keys, r.cost.Bytes+cost.Bytes, r.cost.FrameBytes+cost.FrameBytes
	whole := fmt.Sprintf("a whole key frame has %d", cost.FrameBytes)
	if cost.Method == client.ByIndex && cost.FrameBytes == 0 { // the rows are the log's as they were applied: nothing was compared with one
		whole = "there is no key frame yet"
	}
	text := fmt.Sprintf("partition %d: a repair takes about %d bytes for %s by %s; %s", v.Partition, cost.Bytes, counted(cost.Keys, "key"), cost.Method, whole)
	switch cost.Method {
	case client.ByFrame:
		text = fmt.Sprintf("partition %d: a repair loads a whole key frame", v.Partition)
		if cost.FrameBytes > 0 { // there is one now
			text += fmt.Sprintf(" of %d bytes", cost.FrameBytes)
		}
	case client.ByDelta:
		text = fmt.Sprintf("partition %d: a repair takes the %s that changed since, about %s; a whole key frame has %d",
			v.Partition, counted(cost.Keys, "key"), counted(cost.Bytes, "byte"), cost.FrameBytes)
	case client.ByLog:
		text = fmt.Sprintf("partition %d: a repair follows the log, which has overwritten what differs, and takes nothing else", v.Partition)
	case client.ByRehash:
		text = fmt.Sprintf("partition %d: a repair takes nothing but to store the digest of the rows", v.Partition)
		if cost.Bytes > 0 {
			text += fmt.Sprintf(", and to load what changed since, about %s", counted(cost.Bytes, "byte"))
		}
	case client.ByRows:
		text = fmt.Sprintf("partition %d: a repair receives nothing: all rows can be read, and what leads to them is made anew", v.Partition)
	}
	return r.p.fact(text, []string{"partition", "repair"}, v.Partition,
		object{[]string{"method", "keys", "bytes", "frame_bytes"}, []any{string(cost.Method), cost.Keys, cost.Bytes, cost.FrameBytes}})
}

// end prints the summary, and returns the exit status.
func (r *dirReport) end(cmd *cobra.Command) error {
	verdict, status := client.Equal, 0
	switch {
	case r.failed > 0:
		verdict, status = client.Error, 2
	case r.unsure > 0:
		verdict, status = client.Inconclusive, 2
	case r.drifted > 0:
		verdict, status = client.Drifted, 1
	}
	if err := r.p.close([]string{"verdict"}, verdict.String()); err != nil {
		return err
	}
	if status == 0 {
		return nil
	}
	if r.p.text != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), r.summary())
	}
	return exitError(status)
}

// summary counts, and says what to do.
func (r *dirReport) summary() (text string) {
	if r.p.keys() > 0 {
		text = r.p.summary() + "; "
	}
	if r.costs {
		text += "nothing was changed: "
	}
	settle := ""
	if r.disputed > 0 {
		settle = fmt.Sprintf("; what to do about a dispute is what keyframe replica list %s says", r.topic)
	}
	switch most := r.drifted + r.unsure + r.failed; {
	case r.refused == most:
		return text + "a repair would be refused" + settle
	case r.costs:
		text += "without --dry-run it is made what the log has"
	default:
		text += fmt.Sprintf("keyframe repair %s --dir %s makes the copy what the log has", r.topic, r.dir)
	}
	if r.refused > 0 {
		text += fmt.Sprintf(", but for %d partition(s) that a repair would be refused for", r.refused)
	}
	return text + settle
}
