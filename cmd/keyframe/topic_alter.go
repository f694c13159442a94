package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/keyframelog/keyframe/proto/suggest"
)

// alteration is what topic alter is asked for.
type alteration struct {
	partitions   int
	policy, fold string
	set, unset   []string
}

func newTopicAlterCommand() *cobra.Command {
	var a alteration
	cmd := &cobra.Command{
		Use:   "alter TOPIC",
		Short: "Change configs of a topic, or give it more partitions",
		Long: `Sets configs, and with --unset takes them back to the broker's default; all of them or none. Other configs stay as they are. More
partitions come after them. A topic without records takes another fold; one with records keeps what it has.`,
		Example: `  keyframe topic alter users --cleanup-policy compact,delete --topic-config retention.ms=604800000
  keyframe topic alter users --unset retention.ms --partitions 4`,
		Args:              arguments("TOPIC"),
		ValidArgsFunction: completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			changes, err := a.changes()
			if err != nil {
				return err
			}
			if len(changes) == 0 && a.partitions == 0 {
				return errors.New("nothing to change: give --topic-config, --unset, --cleanup-policy, --fold or --partitions")
			}
			return withAdmin(cmd.Context(), c, func(admin *kadm.Client) error { return a.make(cmd, admin, args[0], changes) })
		},
	}
	cmd.Flags().IntVar(&a.partitions, "partitions", 0, "number of partitions that the topic has afterwards, more than now")
	cmd.Flags().StringVar(&a.policy, "cleanup-policy", "", "delete, compact or compact,delete")
	cmd.Flags().StringVar(&a.fold, "fold", "", "last-value, json-merge-patch, counter or debezium; while the topic is empty")
	cmd.Flags().StringArrayVar(&a.set, "topic-config", nil, "a topic config, NAME=VALUE (repeatable)")
	cmd.Flags().StringArrayVar(&a.unset, "unset", nil, "a topic config that goes back to the broker's default (repeatable)")
	completeFlag(cmd, "cleanup-policy", "delete", "compact", "compact,delete")
	completeFlag(cmd, "fold", foldNames()...)
	addSettings(cmd, "brokers")
	return cmd
}

func (a *alteration) changes() ([]kadm.AlterConfig, error) {
	var all []kadm.AlterConfig
	set := func(name, value string) {
		all = append(all, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	if a.policy != "" {
		set("cleanup.policy", a.policy)
	}
	if a.fold != "" {
		set("keyframe.fold", a.fold)
	}
	for _, s := range a.set {
		name, value, err := splitPair(s, "--topic-config")
		if err != nil {
			return nil, err
		}
		set(name, value)
	}
	for _, name := range a.unset {
		all = append(all, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
	}
	return all, nil
}

// checkUnset refuses names that the broker does not know: to unset one succeeds, as in Kafka, and changes nothing.
func (a *alteration) checkUnset(ctx context.Context, admin *kadm.Client, topic string) error {
	if len(a.unset) == 0 {
		return nil
	}
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return err
	}
	r, err := described.On(topic, nil)
	if err := topicError("alter", topic, cmp.Or(r.Err, err), r.ErrMessage); err != nil {
		return err
	}
	var known []string
	for _, k := range r.Configs {
		known = append(known, k.Key)
	}
	for _, name := range a.unset {
		if slices.Contains(known, name) {
			continue
		}
		if best := suggest.Nearest(name, known); best != "" {
			return fmt.Errorf("--unset %s: there is no such topic config: did you mean %s?", name, best)
		}
		return fmt.Errorf("--unset %s: there is no such topic config: keyframe topic describe %s lists them", name, topic)
	}
	return nil
}

func (a *alteration) make(cmd *cobra.Command, admin *kadm.Client, topic string, changes []kadm.AlterConfig) error {
	if err := a.checkUnset(cmd.Context(), admin, topic); err != nil {
		return err
	}
	if len(changes) > 0 {
		altered, err := admin.AlterTopicConfigs(cmd.Context(), changes, topic)
		if err != nil {
			return err
		}
		r, err := altered.On(topic, nil)
		if err := topicError("alter", topic, cmp.Or(r.Err, err), r.ErrMessage); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "altered topic %s: %d config(s)\n", topic, len(changes))
	}
	if a.partitions > 0 {
		grown, err := admin.UpdatePartitions(cmd.Context(), a.partitions, topic)
		if err != nil {
			return err
		}
		r, err := grown.On(topic, nil)
		if err := topicError("alter", topic, cmp.Or(r.Err, err), r.ErrMessage); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "altered topic %s: %d partition(s)\n", topic, a.partitions)
	}
	return nil
}
