package configs

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/keyframelog/keyframe/broker/pattern"
	"github.com/keyframelog/keyframe/broker/topics"
)

// groupTable is what can be set on a consumer group.
func groupTable() table {
	def := func(name, value, doc string) definition {
		return definition{name: name, kind: topics.TypeInt, value: &value, doc: doc, update: clusterWide, check: integer(1, math.MaxInt32), synonym: "group." + name}
	}
	return newTable(
		def(groupHeartbeat, "5000", "How often a member of the group sends a heartbeat."),
		def(groupSession, "45000", "A member of the group that is not heard of for this time is out."),
	)
}

const (
	groupHeartbeat = "consumer.heartbeat.interval.ms"
	groupSession   = "consumer.session.timeout.ms"
)

// checkGroup holds a group's configs against the broker's bounds; the error is a *topics.ConfigError.
func (s *Store) checkGroup(set map[string]string) error {
	for name, bounds := range map[string][2]string{
		groupHeartbeat: {"group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
		groupSession:   {"group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
	} {
		value, ok := set[name]
		if !ok {
			continue
		}
		if number(value) < s.number(bounds[0]) {
			return &topics.ConfigError{Name: name, Reason: fmt.Sprintf("%s must be greater than or equal to %s", name, bounds[0])}
		}
		if number(value) > s.number(bounds[1]) {
			return &topics.ConfigError{Name: name, Reason: fmt.Sprintf("%s must be less than or equal to %s", name, bounds[1])}
		}
	}
	return nil
}

// metricsTable is what can be set on a subscription to client metrics (KIP-714). Subscriptions are kept; nothing is collected.
func metricsTable() table {
	def := func(name string, kind topics.Type, value, doc string, check func(string) error) definition {
		return definition{name: name, kind: kind, value: &value, doc: doc + noEffect, update: clusterWide, check: check}
	}
	return newTable(
		def("interval.ms", topics.TypeInt, "300000", "How often clients push.", integer(math.MinInt32, math.MaxInt32)),
		def("match", topics.TypeList, "", "Which clients.", nil),
		def("metrics", topics.TypeList, "", "Which metrics, by prefix.", nil),
	)
}

// checkMetrics refuses what Kafka refuses of a subscription.
func checkMetrics(set map[string]string) error {
	if value, ok := set["interval.ms"]; ok {
		if n := number(value); n < 100 || n > 3_600_000 {
			return refuse("Invalid value %s for interval.ms, interval must be between 100 and 3600000 (1 hour)", value)
		}
	}
	selectors := []string{"client_id", "client_instance_id", "client_software_name", "client_software_version", "client_source_address", "client_source_port"}
	for _, match := range topics.Elements(set["match"]) {
		selector, expression, ok := strings.Cut(match, "=")
		_, err := pattern.Compile(topics.Trim(expression))
		if !ok || err != nil || !slices.Contains(selectors, topics.Trim(selector)) {
			return &topics.ConfigError{Name: "match", Reason: "Illegal client matching pattern: " + match}
		}
	}
	return nil
}

// number parses a value that passed its check.
func number(value string) int64 {
	n, _ := strconv.ParseInt(topics.Trim(value), 10, 64)
	return n
}
