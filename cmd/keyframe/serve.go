package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/broker"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/fold"
)

func newServeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the broker",
		Long: `Serves the Kafka protocol and the state plane from one data directory, until SIGINT or SIGTERM. A second signal ends it at once.

What was acknowledged with acks=all (or 1) is on disk: kill -9 and a power cut lose none of it.`,
		Args: cobra.NoArgs,
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
		"default-partitions", "fold", "group-initial-rebalance-delay", "memtable-size", "tail-cache-size", "interval-memory")
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

// brokerConfig is the plain configuration that the settings amount to.
func brokerConfig(c *config, logTo io.Writer) (cfg broker.Config, err error) {
	cfg = broker.DefaultConfig()
	if cfg.Logger, err = newLogger(c, logTo); err != nil {
		return cfg, err
	}
	cfg.DataDir = c.str("data-dir")
	cfg.KafkaAddr, cfg.AdvertisedAddr, cfg.StateAddr = c.str("kafka-addr"), c.str("advertised-addr"), c.str("state-addr")
	cfg.Insecure, cfg.AutoCreateTopics = c.boolean("insecure"), c.boolean("auto-create-topics")
	cfg.DefaultPartitions = int32(c.integer("default-partitions"))
	cfg.Groups.InitialRebalanceDelay = c.duration("group-initial-rebalance-delay")
	for _, pair := range c.list("fold") {
		pattern, name, err := splitPair(pair, "fold")
		if err != nil {
			return cfg, err
		}
		kind, err := fold.ParseKind(name)
		if err != nil {
			return cfg, fmt.Errorf("fold %q (%s): %w", pair, c.source("fold"), err)
		}
		cfg.Folds = append(cfg.Folds, topics.FoldPattern{Pattern: pattern, Fold: kind})
	}
	var sizes [3]error
	cfg.MemTableBytes, sizes[0] = c.bytes("memtable-size")
	cfg.TailCacheBytes, sizes[1] = c.bytes("tail-cache-size")
	cfg.IntervalMemoryBytes, sizes[2] = c.bytes("interval-memory")
	return cfg, errors.Join(sizes[:]...)
}

func newLogger(c *config, to io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.str("log-level"))); err != nil {
		return nil, fmt.Errorf("log-level %q (%s): use debug, info, warn or error", c.str("log-level"), c.source("log-level"))
	}
	options := &slog.HandlerOptions{Level: level}
	switch c.str("log-format") {
	case "text":
		return slog.New(slog.NewTextHandler(to, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(to, options)), nil
	}
	return nil, fmt.Errorf("log-format %q (%s): use text or json", c.str("log-format"), c.source("log-format"))
}
