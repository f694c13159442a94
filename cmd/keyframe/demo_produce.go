package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/keyframelog/keyframe/bench/githistory"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// stop is a place in the history at which states are compared: a commit and the offset after its last delta.
type stop struct {
	commit string
	number int // 1 is the oldest
	offset int64
}

func demoStateClient(url string) stateconnect.StateServiceClient {
	return stateconnect.NewStateServiceClient(http.DefaultClient, url)
}

// createTopic makes the key-framed topic; a frame is cut about every twentieth of the history. Commits have whatever time their
// committers' clocks had.
func (d *demo) createTopic(ctx context.Context, commits int) error {
	kafka, err := kgo.NewClient(kgo.SeedBrokers(d.kafka))
	if err != nil {
		return err
	}
	defer kafka.Close()
	policy, records, anyTime := "compact", strconv.Itoa(max(50, commits/10)), strconv.FormatInt(math.MaxInt64, 10)
	r, err := kadm.NewClient(kafka).CreateTopic(ctx, 1, 1, map[string]*string{
		"cleanup.policy": &policy, "keyframe.interval.records": &records, "message.timestamp.after.max.ms": &anyTime,
	}, demoTopic)
	return topicError("create", demoTopic, errors.Join(err, r.Err), r.ErrMessage)
}

// produceHistory sends one record for every changed path, in the order of the commits, and pauses at each stop until the
// follower is there and has been compared.
func (d *demo) produceHistory(ctx context.Context, commits int, follower *client.Replica) ([]stop, error) {
	producer, err := kgo.NewClient(kgo.SeedBrokers(d.kafka), kgo.DefaultProduceTopic(demoTopic), kgo.ProducerLinger(2*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	progress, bar := progressBar(d.screen, "produce", "commits", commits)
	p := &historyProducer{kafka: producer}
	began := time.Now()
	var paused time.Duration
	number := 0
	for commit, err := range d.repo.Commits(ctx) {
		if err != nil {
			return nil, err
		}
		number++
		p.commit(ctx, commit)
		bar.Increment()
		if isStop(number, commits) {
			if err := p.flush(ctx); err != nil {
				return nil, err
			}
			pause := time.Now()
			p.stops = append(p.stops, stop{commit.ID, number, p.deltas})
			if err := d.compareFollower(ctx, follower, p.stops[len(p.stops)-1]); err != nil {
				return nil, err
			}
			paused += time.Since(pause)
		}
		if number == commits {
			break
		}
	}
	took := time.Since(began) - paused
	progress.Wait()
	say(d.out, "produce", "%d deltas of %d commits, %d bytes of keys and values, in %s: %.0f deltas/s, acks=all with fsync",
		p.deltas, number, p.bytes, took.Round(time.Millisecond), float64(p.deltas)/took.Seconds())
	return p.stops, nil
}

// compareFollower waits for the replica that follows along, and compares it.
func (d *demo) compareFollower(ctx context.Context, follower *client.Replica, at stop) error {
	if err := follower.WaitFor(ctx, 0, at.offset); err != nil {
		return err
	}
	return d.compareReplica(ctx, "replica that followed along", follower, at)
}

// isStop spreads the stops evenly; the last commit is always one.
func isStop(number, commits int) bool {
	if number == commits {
		return true
	}
	return number*(demoStops+1)/commits != (number-1)*(demoStops+1)/commits
}

// historyProducer counts what it sends; the first refusal is kept.
type historyProducer struct {
	kafka  *kgo.Client
	deltas int64
	bytes  int64
	stops  []stop
	failed chan error
}

func (p *historyProducer) commit(ctx context.Context, c githistory.Commit) {
	if p.failed == nil {
		p.failed = make(chan error, 1)
	}
	for _, change := range c.Changes {
		r := &kgo.Record{Key: []byte(change.Path), Value: change.Value(), Timestamp: c.Time}
		p.deltas++
		p.bytes += int64(len(r.Key) + len(r.Value))
		p.kafka.Produce(ctx, r, func(r *kgo.Record, err error) {
			if err != nil {
				select {
				case p.failed <- fmt.Errorf("produce %s: %w", r.Key, err):
				default: // the first one is enough
				}
			}
		})
	}
}

func (p *historyProducer) flush(ctx context.Context) error {
	if err := p.kafka.Flush(ctx); err != nil {
		return err
	}
	select {
	case err := <-p.failed:
		return err
	default:
		return nil
	}
}

// cutFrame asks for a frame at the end and says how many there are.
func (d *demo) cutFrame(ctx context.Context) error {
	began := time.Now()
	cut, err := d.rows.Cut(ctx, connect.NewRequest(&state.CutRequest{Topic: demoTopic}))
	if err != nil {
		return err
	}
	took := since(began)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := d.rows.Frames(ctx, connect.NewRequest(&state.FramesRequest{Topic: demoTopic}))
	if err != nil {
		return err
	}
	defer stream.Close()
	frames := 0
	for stream.Receive() {
		frames += len(stream.Msg().Frames)
	}
	f := cut.Msg.Frames[0]
	say(d.out, "key frames", "%d; the newest at offset %d has %d rows, %d bytes, cut in %s", frames, f.Cut, f.Count, f.Bytes, took)
	return stream.Err()
}

// progressBar draws on a terminal only; a log file gets the summary line alone.
func progressBar(out io.Writer, what, unit string, total int) (*mpb.Progress, *mpb.Bar) {
	file, isFile := out.(*os.File)
	var opts []mpb.ContainerOption
	if isFile && term.IsTerminal(int(file.Fd())) {
		opts = append(opts, mpb.WithOutput(out), mpb.WithWidth(64))
	} else {
		opts = append(opts, mpb.WithOutput(nil))
	}
	progress := mpb.New(opts...)
	bar := progress.AddBar(int64(total), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(fmt.Sprintf("%-13s", what))),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d "+unit), decor.AverageETA(decor.ET_STYLE_GO, decor.WCSyncSpace)))
	return progress, bar
}
