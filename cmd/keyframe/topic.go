package main

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

func newTopicCommand() *cobra.Command {
	return group("topic", "Create, list, describe, alter and delete topics",
		newTopicCreateCommand(), newTopicListCommand(), newTopicDescribeCommand(), newTopicAlterCommand(), newTopicDeleteCommand())
}

func newTopicCreateCommand() *cobra.Command {
	var (
		partitions int32
		policy     string
		fold       string
		configs    []string
	)
	cmd := &cobra.Command{
		Use:   "create TOPIC",
		Short: "Create a topic; --cleanup-policy compact makes it key-framed",
		Example: `  keyframe topic create users --cleanup-policy compact
  keyframe topic create stock --fold counter --topic-config keyframe.interval.records=100000`,
		Args: arguments("TOPIC"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			settings := map[string]*string{}
			for _, s := range configs {
				name, value, err := splitPair(s, "--topic-config")
				if err != nil {
					return err
				}
				settings[name] = &value
			}
			if fold != "" {
				settings["keyframe.fold"] = &fold
				policy = cmp.Or(policy, "compact") // a fold is the wish for a key-framed topic
			}
			if policy != "" {
				settings["cleanup.policy"] = &policy
			}
			return withAdmin(cmd.Context(), c, func(admin *kadm.Client) error {
				r, err := admin.CreateTopic(cmd.Context(), partitions, -1, settings, args[0])
				if err := topicError("create", args[0], cmp.Or(r.Err, err), r.ErrMessage); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "created topic %s, %d partition(s), id %s\n", r.Topic, r.NumPartitions, topicID(r.ID))
				return nil
			})
		},
	}
	cmd.Flags().Int32Var(&partitions, "partitions", -1, "number of partitions (default: the broker's)")
	cmd.Flags().StringVar(&policy, "cleanup-policy", "", "delete, compact or compact,delete")
	cmd.Flags().StringVar(&fold, "fold", "", "last-value, json-merge-patch, counter or debezium")
	cmd.Flags().StringArrayVar(&configs, "topic-config", nil, "a topic config, NAME=VALUE (repeatable)")
	completeFlag(cmd, "cleanup-policy", "delete", "compact", "compact,delete")
	completeFlag(cmd, "fold", foldNames()...)
	addSettings(cmd, "brokers")
	return cmd
}

// topicID is an id as Kafka's own tools print it: base64 for URLs, without padding.
func topicID(id kadm.TopicID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

func newTopicListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the topics",
		Args:  arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			return withAdmin(cmd.Context(), c, func(admin *kadm.Client) error {
				topics, err := admin.ListTopics(cmd.Context())
				if err != nil {
					return err
				}
				configs, err := admin.DescribeTopicConfigs(cmd.Context(), topics.Names()...)
				if err != nil {
					return err
				}
				out, err := newOutput(cmd, c, "topic", "partitions", "cleanup_policy", "fold", "id")
				if err != nil {
					return err
				}
				for _, t := range topics.Sorted() {
					values := configValues(configs, t.Topic)
					fold := any(absent{})
					if f := values["keyframe.fold"]; f != "" && values["cleanup.policy"] != "delete" {
						fold = f
					}
					if err := out.row(t.Topic, len(t.Partitions), values["cleanup.policy"], fold, topicID(t.ID)); err != nil {
						return err
					}
				}
				return out.close()
			})
		},
	}
	addSettings(cmd, "brokers", "format")
	return cmd
}

func configValues(configs kadm.ResourceConfigs, topic string) map[string]string {
	values := map[string]string{}
	for _, r := range configs {
		if r.Name != topic {
			continue
		}
		for _, c := range r.Configs {
			if c.Value != nil {
				values[c.Key] = *c.Value
			}
		}
	}
	return values
}

func newTopicDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "delete TOPIC...",
		Short:             "Delete topics with everything in them",
		Args:              arguments("TOPIC..."),
		ValidArgsFunction: completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			return withAdmin(cmd.Context(), c, func(admin *kadm.Client) error {
				deleted, err := admin.DeleteTopics(cmd.Context(), args...)
				if err != nil {
					return err
				}
				var failed []error
				for _, name := range slices.Sorted(maps.Keys(deleted)) {
					if err := topicError("delete", name, deleted[name].Err, deleted[name].ErrMessage); err != nil {
						failed = append(failed, err)
						continue
					}
					fmt.Fprintf(cmd.OutOrStdout(), "deleted topic %s\n", name)
				}
				return errors.Join(failed...)
			})
		},
	}
	addSettings(cmd, "brokers")
	return cmd
}
