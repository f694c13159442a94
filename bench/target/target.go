// Package target is where a workload runs: a broker that speaks the Kafka protocol, whichever, with a state plane where it has one.
//
//	t, err := target.Open(ctx, target.Config{Brokers: []string{"127.0.0.1:9092"}, StateURL: "http://127.0.0.1:9094"})
//	defer t.Close()
//	topic, err := t.Create(ctx, target.Topic{Name: "bench", Partitions: 8})
//	defer topic.Drop(ctx)
//	fmt.Println(topic.Durability) // what an acknowledgement means here
//
// Where the broker is a process of this machine, its processor time and memory are measured as well.
package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench/probe"
	"github.com/keyframelog/keyframe/bench/result"
)

// Config says which broker it is.
type Config struct {
	Name     string   // that figures are told under; "": what the software is called
	Brokers  []string // addresses
	StateURL string   // "": there is no state plane
}

// Target is one that answers.
type Target struct {
	Config
	Software string         // and version, as far as it tells
	Process  *probe.Process // nil: it is not one of this machine
	Command  []string       // that the process was started with

	cl    *kgo.Client
	admin *kadm.Client
}

// openTimeout is how long a broker has for its first answer.
const openTimeout = 10 * time.Second

// Open asks the broker who it is. Errors: that of the connection.
func Open(ctx context.Context, cfg Config) (*Target, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	t := &Target{Config: cfg}
	var err error
	if t.cl, err = t.Client(); err != nil {
		return nil, err
	}
	t.admin = kadm.NewClient(t.cl)
	versions, err := t.admin.ApiVersions(ctx)
	if err != nil {
		t.Close()
		return nil, fmt.Errorf("%s: %w", strings.Join(cfg.Brokers, ", "), err)
	}
	guess := ""
	for _, v := range versions.Sorted() {
		guess = v.VersionGuess()
	}
	t.findProcess()
	t.name(guess)
	return t, nil
}

// Close ends its connections.
func (t *Target) Close() { t.cl.Close() }

// findProcess looks for the process that listens on the first address, if that is of this machine.
func (t *Target) findProcess() {
	host, port, err := net.SplitHostPort(t.Brokers[0])
	if err != nil || !local(host) {
		return
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return
	}
	p, err := probe.Listening(n)
	if err != nil {
		return
	}
	t.Process = &p
	t.Command, _ = p.Command() // for the report alone
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// name finds out what the software is, from what it offers and how it was started.
func (t *Target) name(guess string) {
	speaks := " (speaks Kafka " + strings.TrimPrefix(guess, "v") + ")"
	short := "kafka-protocol"
	switch command := strings.Join(t.Command, " "); {
	case t.StateURL != "":
		short, t.Software = "keyframe", "Keyframe"
	case strings.Contains(command, "kafka.Kafka"):
		short, t.Software = "kafka", "Apache Kafka"+speaks
	case strings.Contains(command, "redpanda"):
		short, t.Software = "redpanda", "Redpanda"+speaks
	default:
		t.Software = "a broker" + speaks
	}
	if t.Name == "" {
		t.Name = short
	}
}

// Client opens a Kafka client with options beside those that reach the broker.
func (t *Target) Client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(t.Brokers...)}, opts...)...)
}

// Admin is a client for everything that is not measured.
func (t *Target) Admin() *kadm.Client { return t.admin }

// Describe is what a result says of it.
func (t *Target) Describe(durability string) result.Target {
	return result.Target{Name: t.Name, Software: t.Software, Brokers: t.Brokers, StateURL: t.StateURL, Durability: durability, Command: t.Command}
}

// DataDir is where the broker, a process of this machine, keeps its log. Errors: probe.ErrNoProcess, and what the broker answers.
func (t *Target) DataDir(ctx context.Context) (string, error) {
	if t.Process == nil {
		return "", probe.ErrNoProcess
	}
	dirs, err := t.admin.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return "", err
	}
	for _, d := range dirs.Sorted() {
		if d.Err == nil {
			return d.Dir, nil
		}
		err = errors.Join(err, d.Err)
	}
	return "", fmt.Errorf("the broker names no directory: %w", err)
}

// HasStatePlane says whether one answers at a URL.
func HasStatePlane(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/livez", nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(req)
	return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
}
