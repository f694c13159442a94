package main

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/inspect"
)

// openOffline opens the data directory of the settings without a broker, and changes nothing in it.
func openOffline(c *config) (*inspect.Dir, error) {
	dir := c.str("data-dir")
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("data directory (%s): %w", c.source("data-dir"), err)
	}
	return inspect.Open(engine.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)}) // what is wrong is reported once, by the tool
}

func newDumpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dump",
		Short: "List what a stopped broker's data directory holds: partitions, offsets, key frames",
		Args:  arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			dir, err := openOffline(c)
			if err != nil {
				return err
			}
			defer dir.Close()
			out, err := newOutput(cmd, c, "topic", "partition", "ordinal", "incarnation", "fold", "log_start", "delta_start", "log_end", "log_bytes",
				"folded", "rows", "frame_cut", "frame_rows", "frame_pub", "error")
			if err != nil {
				return err
			}
			partitions, err := dir.Partitions()
			if err != nil {
				return err
			}
			for _, p := range partitions {
				for _, row := range dumpRows(p) {
					if err := out.row(row...); err != nil {
						return err
					}
				}
			}
			return out.close()
		},
	}
	addSettings(cmd, "data-dir", "format")
	return cmd
}

// dumpRows is one row for the partition and one for each of its key frames.
func dumpRows(p inspect.Partition) [][]any {
	none := absent{}
	name := []any{p.Topic, p.Index, int64(p.Ordinal), hex.EncodeToString(p.Incarnation[:])}
	if p.Err != nil {
		return [][]any{append(name, none, none, none, none, none, none, none, none, none, none, p.Err.Error())}
	}
	b := p.Log.Bounds()
	log := []any{none, b.LogStart, b.DeltaStart, b.LogEnd, p.Log.SizeBytes(), none, none, none, none, none, none}
	if p.Table == nil {
		return [][]any{append(name, log...)}
	}
	log[0], log[5], log[6] = p.Fold.String(), p.Table.Position(), p.Table.Digest().Count
	rows := [][]any{append(name[:len(name):len(name)], log...)}
	for _, f := range p.Table.Frames() {
		pub := p.Table.Pub(f)
		frame := []any{none, none, none, none, none, none, none, f.Cut, f.Digest.Count, hex.EncodeToString(pub[:]), none}
		rows = append(rows, append(name[:len(name):len(name)], frame...))
	}
	return rows
}
