package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/broker"
	"github.com/keyframelog/keyframe/broker/quota"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/fold"
)

func newServeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the broker",
		Long: `Serves the Kafka protocol and the state plane from one data directory, until SIGINT, SIGTERM or SIGHUP. A second signal ends it at once.

What was acknowledged with acks=all (or 1) is on disk: kill -9 and a power cut lose none of it, unless a topic's flush.messages is not 1.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			cfg, err := brokerConfig(c, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return serve(cmd.Context(), cfg)
		},
	}
	addSettings(cmd, "kafka-addr", "advertised-addr", "state-addr", "data-dir", "insecure", "log-level", "log-format", "auto-create-topics",
		"default-partitions", "fold", "group-initial-rebalance-delay", "transaction-max-timeout", "memtable-size", "tail-cache-size", "interval-memory", "scrub-rate",
		"max-connections", "max-connections-per-ip", "connection-idle-timeout", "connection-byte-rate", "connection-request-rate",
		"quota-producer-byte-rate", "quota-consumer-byte-rate", "quota-request-percentage", "quota-controller-mutation-rate",
		"quota-connection-creation-rate")
	return cmd
}

func serve(ctx context.Context, cfg broker.Config) error {
	b, err := broker.Start(ctx, cfg)
	if err != nil {
		return err
	}
	<-ctx.Done()
	cfg.Logger.Info("stopping", "drain_at_most", cfg.DrainTimeout.String())
	err = b.Close()
	if errors.Is(err, context.DeadlineExceeded) {
		cfg.Logger.Warn("stopped with answers in work", "error", err)
		return nil
	}
	if err == nil {
		cfg.Logger.Info("stopped")
	}
	return err
}

// brokerConfig is the plain configuration that the settings amount to, checked.
func brokerConfig(c *config, logTo io.Writer) (cfg broker.Config, err error) {
	cfg = broker.DefaultConfig()
	if cfg.Logger, cfg.LogLevel, err = newLogger(c, logTo); err != nil {
		return cfg, err
	}
	if err := checkAddresses(c); err != nil {
		return cfg, err
	}
	partitions := c.integer("default-partitions")
	if partitions < 1 || partitions > math.MaxInt32 {
		return cfg, c.wrong("default-partitions", "a topic has at least one partition, and at most 2147483647")
	}
	cfg.DataDir = c.str("data-dir")
	cfg.KafkaAddr, cfg.AdvertisedAddr, cfg.StateAddr = c.str("kafka-addr"), c.str("advertised-addr"), c.str("state-addr")
	cfg.Insecure, cfg.AutoCreateTopics = c.boolean("insecure"), c.boolean("auto-create-topics")
	cfg.DefaultPartitions = int32(partitions)
	cfg.Groups.InitialRebalanceDelay = c.duration("group-initial-rebalance-delay")
	cfg.Transactions.MaxTimeout = c.duration("transaction-max-timeout")
	cfg.MemTableBytes, cfg.TailCacheBytes, cfg.IntervalMemoryBytes = c.bytes("memtable-size"), c.bytes("tail-cache-size"), c.bytes("interval-memory")
	cfg.ScrubRows = c.integer("scrub-rate")
	cfg.MaxConnections, cfg.MaxConnectionsPerIP = c.integer("max-connections"), c.integer("max-connections-per-ip")
	cfg.ConnectionIdleTimeout = c.duration("connection-idle-timeout")
	cfg.Quotas = quotaSettings(c)
	if cfg.Folds, err = foldPatterns(c); err != nil {
		return cfg, err
	}
	return cfg, cfg.Validate()
}

func quotaSettings(c *config) quota.Settings {
	return quota.Settings{
		ProducerByteRate:       float64(c.bytes("quota-producer-byte-rate")),
		ConsumerByteRate:       float64(c.bytes("quota-consumer-byte-rate")),
		RequestPercentage:      float64(c.integer("quota-request-percentage")),
		ControllerMutationRate: float64(c.integer("quota-controller-mutation-rate")),
		ConnectionCreationRate: float64(c.integer("quota-connection-creation-rate")),
		ConnectionByteRate:     float64(c.bytes("connection-byte-rate")),
		ConnectionRequestRate:  float64(c.integer("connection-request-rate")),
	}
}

func foldPatterns(c *config) (patterns []topics.FoldPattern, err error) {
	for _, pair := range c.list("fold") {
		at := strings.LastIndexByte(pair, '=') // no fold's name has one, a pattern may
		if at < 1 {
			return nil, fmt.Errorf("fold %q (%s): write PATTERN=FOLD, as in 'stock-*=counter'", pair, c.source("fold"))
		}
		if _, err := path.Match(pair[:at], ""); err != nil {
			return nil, fmt.Errorf("fold %q (%s): %q is no pattern: * is any text, ? one character, [ab] one of several, and \\ takes the next as it is",
				pair, c.source("fold"), pair[:at])
		}
		kind, err := fold.ParseKind(pair[at+1:])
		if err != nil {
			return nil, fmt.Errorf("fold %q (%s): %w", pair, c.source("fold"), err)
		}
		patterns = append(patterns, topics.FoldPattern{Pattern: pair[:at], Fold: kind})
	}
	return patterns, nil
}

// checkAddresses names the setting and the range that is allowed; the broker's own check knows neither.
func checkAddresses(c *config) error {
	for _, a := range []struct {
		key     string
		portMin uint64
		port    string
	}{
		{"kafka-addr", 0, "from 0 (any free port) to 65535"},
		{"state-addr", 0, "from 0 (any free port) to 65535"},
		{"advertised-addr", 1, "from 1 to 65535, since clients connect to it"},
	} {
		addr := c.str(a.key)
		if addr == "" && a.key == "advertised-addr" {
			continue
		}
		host, port, err := net.SplitHostPort(addr)
		if err != nil || host == "" && a.key == "advertised-addr" {
			return c.wrong(a.key, "write HOST:PORT, as in 127.0.0.1:9092")
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n < a.portMin {
			return c.wrong(a.key, "the port must be a number "+a.port)
		}
	}
	return nil
}

// newLogger returns the logger and its level, which clients may change later.
func newLogger(c *config, to io.Writer) (*slog.Logger, *slog.LevelVar, error) {
	var first slog.Level
	if err := first.UnmarshalText([]byte(c.str("log-level"))); err != nil {
		return nil, nil, c.wrong("log-level", "use debug, info, warn or error")
	}
	level := new(slog.LevelVar)
	level.Set(first)
	options := &slog.HandlerOptions{Level: level}
	switch c.str("log-format") {
	case "text":
		return slog.New(slog.NewTextHandler(to, options)), level, nil
	case "json":
		return slog.New(slog.NewJSONHandler(to, options)), level, nil
	}
	return nil, nil, c.wrong("log-format", "use text or json")
}
