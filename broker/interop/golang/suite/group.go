package suite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

func groups(ctx context.Context, r *run) error { return groupWith(ctx, r, "t", false) }

func groupWith(ctx context.Context, r *run, what string, newProtocol bool) error {
	topic, group := r.name(what), r.name(what+"-group")
	config := ConsumerConfig{Group: group, Topic: topic, NewProtocol: newProtocol}
	if err := r.topic(ctx, topic, 4, nil); err != nil {
		return err
	}
	first, second := numbered(topic, 400, 4, now()), numbered(topic, 80, 4, now())
	for _, records := range [][]Record{first, second} {
		if err := r.send(ctx, ProducerConfig{}, records); err != nil {
			return err
		}
		c, err := r.consumer(config)
		if err != nil {
			return err
		}
		got, err := take(ctx, c, len(records))
		if err == nil {
			err = inOrder(records, got)
		}
		if err == nil {
			err = c.Commit(ctx)
		}
		if err := errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	a, err := r.Admin(r.addr, r.id())
	if err != nil {
		return err
	}
	defer a.Close()
	if newProtocol { // a client may fall back
		switch is, err := a.GroupType(ctx, group); {
		case errors.Is(err, ErrUnsupported):
		case err != nil:
			return fmt.Errorf("type of the group: %w", err)
		case !strings.EqualFold(is, "consumer"):
			return fmt.Errorf("the client fell back: the group's type is %q", is)
		}
	}
	offsets, err := a.GroupOffsets(ctx, group, topic)
	if errors.Is(err, ErrUnsupported) {
		r.note("without reading offsets: %v", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("committed offsets: %w", err)
	}
	for p := range int32(4) {
		if offsets[p] != 120 {
			return fmt.Errorf("committed offset of partition %d is %d, not 120", p, offsets[p])
		}
	}
	return nil
}

func groups848(ctx context.Context, r *run) error {
	if err := groupWith(ctx, r, "t", true); err != nil {
		return err
	}
	return rebalanceWith(ctx, r, "r", true)
}

func rebalance(ctx context.Context, r *run) error { return rebalanceWith(ctx, r, "t", false) }

func rebalanceWith(ctx context.Context, r *run, what string, newProtocol bool) error {
	b, err := newBoard(ctx, r, what, newProtocol)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.join("a", ""); err != nil {
		return err
	}
	if err := b.converge("a has all", func(who []string) bool { return slices.Equal(who, []string{"a", "a", "a", "a"}) }); err != nil {
		return err
	}
	if err := b.join("b", ""); err != nil {
		return err
	}
	if err := b.converge("both have some", func(who []string) bool { return slices.Contains(who, "a") && slices.Contains(who, "b") }); err != nil {
		return err
	}
	if err := b.leave("b"); err != nil {
		return err
	}
	if err := b.converge("a has all again", func(who []string) bool { return slices.Equal(who, []string{"a", "a", "a", "a"}) }); err != nil {
		return err
	}
	return b.complete()
}

func static(ctx context.Context, r *run) error {
	b, err := newBoard(ctx, r, "t", false)
	if err != nil {
		return err
	}
	defer b.close()
	for _, name := range []string{"a", "b"} {
		if err := b.join(name, "instance-"+name); err != nil {
			return err
		}
	}
	var before []string
	err = b.converge("both have some, twice the same", func(who []string) bool { // one round may fall into a move
		same := slices.Equal(before, who)
		before = who
		return same && slices.Contains(who, "a") && slices.Contains(who, "b") && !slices.Contains(who, "")
	})
	if err != nil {
		return err
	}
	if err := b.leave("a"); err != nil {
		return err
	}
	away, err := b.round()
	if err != nil {
		return err
	}
	who := b.who(away, 2*time.Second)
	for p, name := range who {
		if before[p] == "a" && name != "" {
			return fmt.Errorf("partition %d went to %s while its static member was away", p, name)
		}
	}
	if err := b.join("a", "instance-a"); err != nil {
		return err
	}
	if who = b.who(away, 20*time.Second); !slices.Equal(who, before) {
		return fmt.Errorf("partitions were with %v, and are with %v after a came back", before, who)
	}
	return b.complete()
}

// board keeps who consumed what: members of one group over four partitions, each polled by a goroutine of its own.
type board struct {
	r           *run
	ctx         context.Context
	topic       string
	group       string
	newProtocol bool
	producer    Producer
	rounds      int

	mu      sync.Mutex
	seen    map[string]string // value -> the member that had it first
	times   map[string]int
	failed  error
	members map[string]*member
}

type member struct {
	consumer Consumer
	stop     context.CancelFunc
	done     chan struct{}
}

func newBoard(ctx context.Context, r *run, what string, newProtocol bool) (*board, error) {
	b := &board{r: r, ctx: ctx, topic: r.name(what), group: r.name(what + "-group"), newProtocol: newProtocol,
		seen: map[string]string{}, times: map[string]int{}, members: map[string]*member{}}
	if err := r.topic(ctx, b.topic, 4, nil); err != nil {
		return nil, err
	}
	var err error
	b.producer, err = r.producer(ProducerConfig{})
	return b, err
}

func (b *board) join(name, instance string) error {
	c, err := b.r.consumer(ConsumerConfig{Group: b.group, Topic: b.topic, InstanceID: instance, NewProtocol: b.newProtocol, AutoCommit: true})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(b.ctx)
	m := &member{consumer: c, stop: stop, done: make(chan struct{})}
	b.members[name] = m
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			got, err := c.Poll(ctx)
			b.mu.Lock()
			if err != nil && ctx.Err() == nil && b.failed == nil {
				b.failed = fmt.Errorf("poll of %s: %w", name, err)
			}
			for _, g := range got {
				b.times[string(g.Value)]++
				if b.seen[string(g.Value)] == "" {
					b.seen[string(g.Value)] = name
				}
			}
			b.mu.Unlock()
		}
	}()
	return nil
}

func (b *board) leave(name string) error {
	m := b.members[name]
	delete(b.members, name)
	m.stop()
	<-m.done
	return m.consumer.Close()
}

func (b *board) close() {
	for _, name := range slices.Collect(maps.Keys(b.members)) {
		_ = b.leave(name)
	}
	_ = b.producer.Close()
}

// round sends one record to each partition and returns its number.
func (b *board) round() (int, error) {
	b.rounds++
	records := make([]Record, 4)
	for p := range records {
		records[p] = Record{Topic: b.topic, Partition: int32(p), Value: []byte(value(b.rounds, p)), Time: now()}
	}
	return b.rounds, b.producer.Send(b.ctx, records)
}

func value(round, partition int) string { return strconv.Itoa(round) + "-" + strconv.Itoa(partition) }

// who had the four records of a round; "" for those that nobody had within the time.
func (b *board) who(round int, limit time.Duration) []string {
	who := make([]string, 4)
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		b.mu.Lock()
		for p := range who {
			who[p] = b.seen[value(round, p)]
		}
		b.mu.Unlock()
		if !slices.Contains(who, "") || time.Now().After(deadline) || b.ctx.Err() != nil {
			return who
		}
	}
}

// converge sends rounds until one went as it should.
func (b *board) converge(what string, right func([]string) bool) error {
	var last []string
	err := within(b.ctx, 40*time.Second, what, func() (bool, error) {
		n, err := b.round()
		if err != nil {
			return false, err
		}
		last = b.who(n, 5*time.Second)
		return right(last), nil
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		return errors.Join(fmt.Errorf("%w: the last round went to [%s]", err, strings.Join(last, " ")), b.failed)
	}
	return b.failed
}

// complete checks that every record came, and tells how many came twice.
func (b *board) complete() error {
	for n := 1; n <= b.rounds; n++ {
		if who := b.who(n, 10*time.Second); slices.Contains(who, "") {
			return fmt.Errorf("round %d of %d was not all consumed: %q", n, b.rounds, who)
		}
	}
	twice := 0
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.times {
		if n > 1 {
			twice++
		}
	}
	if twice > 0 {
		b.r.note("%d of %d records came again after a move", twice, 4*b.rounds)
	}
	return b.failed
}
