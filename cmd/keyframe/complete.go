package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
)

// completeTimeout bounds how long a shell hangs at a tab when no broker answers.
const completeTimeout = time.Second

// completeSetting completes settings that take one of a few words, or a path.
func completeSetting(cmd *cobra.Command, key string) {
	switch key {
	case "format":
		completeFlag(cmd, key, "table", "json", "jsonl")
	case "log-level":
		completeFlag(cmd, key, "debug", "info", "warn", "error")
	case "log-format":
		completeFlag(cmd, key, "text", "json")
	case "fold":
		must(cmd.RegisterFlagCompletionFunc(key, completeFoldPattern))
	case "data-dir":
		must(cmd.MarkFlagDirname(key))
	}
}

// completeFlag completes a flag that takes one of a few words.
func completeFlag(cmd *cobra.Command, flag string, words ...string) {
	must(cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)))
}

// must panics where this program names a flag that it did not declare.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func foldNames() []string {
	return []string{fold.LastValue.String(), fold.JSONMergePatch.String(), fold.Counter.String(), fold.Debezium.String()}
}

func opNames() []string {
	return []string{delta.Put.String(), delta.Delete.String(), delta.Merge.String(), delta.Add.String()}
}

// completeFoldPattern completes the fold behind PATTERN=.
func completeFoldPattern(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	pattern, _, ok := strings.Cut(typed, "=")
	if !ok {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, name := range foldNames() {
		out = append(out, fmt.Sprintf("%s=%s", pattern, name))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeTopic completes the first argument, completeTopics every one, with the topics of the broker that the settings name. A
// broker that does not answer completes nothing: a shell has no place for an error.
func completeTopic(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeTopics(cmd, args, typed)
}

func completeTopics(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if c, err := loadConfig(cmd); err == nil {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		_ = withAdmin(ctx, c, func(admin *kadm.Client) error {
			topics, err := admin.ListTopics(ctx)
			names = without(topics.Names(), args)
			return err
		})
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func without(names, taken []string) (rest []string) {
	given := map[string]bool{}
	for _, name := range taken {
		given[name] = true
	}
	for _, name := range names {
		if !given[name] {
			rest = append(rest, name)
		}
	}
	return rest
}
