package consumer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
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
// was made of. It is cheap when neither topics nor subscriptions have changed.
func (g *Group) resolve() (changed bool) {
	version := g.opts.Topics.Version()
	if version == g.topicsVersion && !g.subscriptionsChanged {
		return false
	}
	before := g.matches
	if version != g.topicsVersion {
		before = nil
	}
	g.topicsVersion, g.subscriptionsChanged = version, false
	matches := map[string][]Topic{}
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
			found, ok := matches[m.pattern]
			if !ok {
				if found, ok = before[m.pattern]; !ok {
					found = g.match(m.regex)
				}
				matches[m.pattern] = found
			}
			for _, t := range found {
				m.topics = append(m.topics, t.ID)
				all[t.ID] = t
			}
		}
		slices.SortFunc(m.topics, compareIDs)
		m.topics = slices.Compact(m.topics)
	}
	g.subscribed, g.matches = all, matches
	sum := digest(all)
	changed = sum != g.topicsSum
	g.topicsSum = sum
	return changed
}

func (g *Group) match(re *regexp.Regexp) (found []Topic) {
	for _, t := range g.opts.Topics.All() {
		if re.MatchString(t.Name) {
			found = append(found, t)
		}
	}
	return found
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
