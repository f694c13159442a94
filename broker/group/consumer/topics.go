package consumer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"

	"github.com/keyframelog/keyframe/broker/group/assign"
	"github.com/keyframelog/keyframe/broker/pattern"
)

// TopicID identifies one life of a topic.
type TopicID = assign.TopicID

// Topic is a topic as a group sees it.
type Topic struct {
	ID         TopicID
	Name       string
	Partitions int
}

// Topics are the topics that there are.
type Topics interface {
	// Version changes with every topic that is created, deleted or gets partitions.
	Version() uint64
	ByName(name string) (Topic, bool)
	ByID(id TopicID) (Topic, bool)
	// All are all topics in the order of their names.
	All() []Topic
}

// compile takes an expression in RE2 syntax, which has to match the whole name of a topic.
func compile(expression string) (*regexp.Regexp, error) {
	re, err := pattern.Compile(expression)
	if errors.Is(err, pattern.ErrTooLarge) {
		return nil, fmt.Errorf("SubscribedTopicRegex of %d bytes is too large.", len(expression))
	}
	var bad *syntax.Error
	if errors.As(err, &bad) {
		return nil, fmt.Errorf("SubscribedTopicRegex `%s` is not a valid regular expression: %s.", expression, bad.Code)
	}
	return re, err
}

// resolve brings up to date which topics each member reads, and says whether that is different from what the last assignment
// was made of. It is cheap when neither subscriptions nor topics of theirs have changed.
func (g *Group) resolve() (changed bool) {
	if g.ownPatterns {
		g.opts.Patterns.Refresh(math.MaxInt)
	}
	version := g.opts.Topics.Version()
	if !g.patternsFound() && !g.subscriptionsChanged && (version == g.topicsVersion || g.sameTopics()) {
		g.topicsVersion = version
		return false
	}
	g.topicsVersion, g.subscriptionsChanged = version, false
	all := map[TopicID]Topic{}
	for _, m := range g.members {
		m.topics = nil
		for _, name := range m.names {
			if t, ok := g.opts.Topics.ByName(name); ok {
				m.topics = append(m.topics, t.ID)
				all[t.ID] = t
			}
		}
		if m.regex != nil {
			var ids []TopicID
			ids, m.matches = g.opts.Patterns.matched(m.regex)
			for _, id := range ids {
				if t, ok := g.opts.Topics.ByID(id); ok {
					m.topics = append(m.topics, id)
					all[id] = t
				}
			}
		}
		slices.SortFunc(m.topics, compareIDs)
		m.topics = slices.Compact(m.topics)
	}
	g.subscribed = all
	sum := digest(all)
	changed = sum != g.topicsSum
	g.topicsSum = sum
	return changed
}

// sameTopics says whether the topics that the members read are as they were, and no name of theirs has become one. Every topic that comes or
// goes is looked at by every group, and most groups do not read it.
func (g *Group) sameTopics() bool {
	for id, was := range g.subscribed {
		if t, ok := g.opts.Topics.ByID(id); !ok || t.Partitions != was.Partitions {
			return false
		}
	}
	for _, m := range g.members {
		for _, name := range m.names {
			if t, ok := g.opts.Topics.ByName(name); ok {
				if _, known := slices.BinarySearchFunc(m.topics, t.ID, compareIDs); !known {
					return false
				}
			}
		}
	}
	return true
}

// patternsFound says whether an expression of a member was found to match more than the member's topics say.
func (g *Group) patternsFound() bool {
	grown := g.opts.Patterns.grown.Load()
	if grown == g.patternsGrown {
		return false
	}
	g.patternsGrown = grown
	return slices.ContainsFunc(g.members, func(m *member) bool { return m.regex != nil && m.regex.found.Load().count != m.matches })
}

// digest identifies the topics and their sizes. It is durable, so that a group that was restored sees what has changed.
func digest(topics map[TopicID]Topic) uint64 {
	h := fnv.New64a()
	for _, id := range sortedIDs(topics) {
		h.Write(id[:])
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(topics[id].Partitions)))
	}
	return h.Sum64()
}
