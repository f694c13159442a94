package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/scale"
)

// againstFlag is the flag that has a workload run at several values of another flag.
const againstFlag = "against"

func declareAgainst(flags *pflag.FlagSet) {
	flags.String(againstFlag, "", "run it at several values of a flag of its own, and show how the figures grow: FLAG=N,N,..., as in keys=10000,100000,1000000")
}

// readAgainst reads the workload, or several of them where that is asked for. own are the workload's own flags.
func readAgainst(flags *pflag.FlagSet, own map[string]bool, read func() (bench.Workload, error)) (bench.Workload, error) {
	pair := flags.Lookup(againstFlag).Value.String()
	if pair == "" {
		return read()
	}
	name, list, err := splitPair(pair, "--"+againstFlag)
	if err != nil {
		return nil, err
	}
	if !own[name] {
		return nil, fmt.Errorf("--%s %s: it is no flag of the workload that has a number", againstFlag, name)
	}
	var steps []scale.Step
	for _, text := range strings.Split(list, ",") {
		at, err := numberOf(text)
		if err == nil {
			err = setFlag(flags.Lookup(name), text)
		}
		if err != nil {
			return nil, fmt.Errorf("--%s %s=%s: %w", againstFlag, name, text, err)
		}
		w, err := read()
		if err != nil {
			return nil, err
		}
		steps = append(steps, scale.Step{At: at, Workload: w})
	}
	return scale.New(name, steps)
}

// setFlag gives a flag another value; one that takes a list has this one alone.
func setFlag(f *pflag.Flag, text string) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.Replace([]string{text})
	}
	return f.Value.Set(text)
}

// numberOf is what stands on the axis: a number, bytes, or seconds.
func numberOf(text string) (float64, error) {
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		return v, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return d.Seconds(), nil
	}
	var b byteSize
	err := b.Set(text)
	return float64(b), err
}
