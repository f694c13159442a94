package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A misspelt command never ends with status 0, and what is missing is named.
func TestCommandLinesThatCannotBe(t *testing.T) {
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{"topic", "lst"}, `did you mean "list"?`},
		{[]string{"topic", "lst", "--format", "json"}, `did you mean "list"?`},
		{[]string{"state", "sacn", "users"}, `did you mean "scan"?`},
		{[]string{"frames", "cutt", "users"}, `did you mean "cut"?`},
		{[]string{"replica", "start", "users"}, "there are list, run, settle"},
		{[]string{"config", "prnt"}, `did you mean "print"?`},
		{[]string{"state", "scan"}, "TOPIC is missing: write keyframe state scan TOPIC"},
		{[]string{"state", "get", "users"}, "KEY is missing: write keyframe state get TOPIC KEY"},
		{[]string{"topic", "delete"}, "TOPIC is missing"},
		{[]string{"topic", "list", "users"}, `unexpected argument "users"`},
		{[]string{"consume", "users", "more"}, `unexpected argument "more"`},
		{[]string{"consume", "users", "--partition", "x"}, `--partition "x": write a whole number`},
		{[]string{"consume", "users", "--group", "g", "--partition", "0"}, "exclude each other"},
		{[]string{"consume", "users", "--partition", "-2"}, "numbered from 0"},
		{[]string{"consume", "users", "--limit", "-1"}, "--limit -1"},
		{[]string{"demo", "--max-commits", "-3"}, "--max-commits -3"},
		{[]string{"replica", "run", "users", "--interval", "0s"}, "--interval 0s"},
		{[]string{"state", "scan", "users", "--at", "-1"}, "offsets begin at 0"},
		{[]string{"state", "scan", "users", "--at", "foo"}, "PARTITION:OFFSET"},
		{[]string{"state", "get", "users", "k", "--at", "0:-4"}, "PARTITION:OFFSET"},
		{[]string{"check", "--format", "xml"}, "jsonl"},
	} {
		_, err := command(t, "", x.args...)
		require.ErrorContains(t, err, x.want, "%v", x.args)
	}
	out, err := command(t, "", "topic")
	require.NoError(t, err)
	require.Contains(t, out, "describe")
}
