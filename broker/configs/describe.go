package configs

import (
	"strconv"

	"github.com/keyframelog/keyframe/broker/topics"
)

// Source is where a value comes from, numbered as in DescribeConfigs.
type Source int8

const (
	SourceTopic         Source = 1
	SourceBroker        Source = 2 // dynamic, of this broker
	SourceBrokers       Source = 3 // dynamic, of all brokers
	SourceStatic        Source = 4
	SourceDefault       Source = 5
	SourceLogger        Source = 6
	SourceClientMetrics Source = 7
	SourceGroup         Source = 8
)

// Synonym is one of the values that a config has, by a name and from a source.
type Synonym struct {
	Name   string
	Value  string
	Source Source
}

// Value is a config of a resource and what there is to know about it.
type Value struct {
	Name     string
	Value    *string // nil: none
	ReadOnly bool
	Source   Source
	Type     topics.Type // 0: not known
	Doc      string
	Synonyms []Synonym // the values it could have, the one that it has first
}

// Chain returns the values of a broker's config, the one that holds first; none where it has no value.
func (s *Store) Chain(name string) []Synonym { return s.chain(*s.dynamic.Load(), name) }

func (s *Store) chain(all dynamic, name string) (chain []Synonym) {
	d, ok := s.tables[Broker].lookup(name)
	if !ok {
		return nil
	}
	add := func(value string, there bool, source Source) {
		if there {
			chain = append(chain, Synonym{name, value, source})
		}
	}
	value, there := all[Resource{Broker, NodeName}][name]
	add(value, there, SourceBroker)
	value, there = all[Resource{Broker, ""}][name]
	add(value, there, SourceBrokers)
	value, there = s.static[name]
	add(value, there, SourceStatic)
	if d.value != nil {
		add(*d.value, true, SourceDefault)
	}
	return chain
}

// Describe returns the configs of a resource by name. Of all brokers (""), only those that are set. The error is a *RequestError.
func (s *Store) Describe(r Resource) ([]Value, error) {
	switch r.Type {
	case Logger:
		return s.describeLogger(r.Name)
	case Broker:
		if err := checkNode(r.Name, true); err != nil {
			return nil, err
		}
		return s.describeBroker(r.Name), nil
	case Group:
		if r.Name == "" {
			return nil, refuse("Group name must not be empty")
		}
		return s.describeSet(r, SourceGroup), nil
	case ClientMetrics:
		if r.Name == "" {
			return nil, refuse("Client metrics subscription name must not be empty")
		}
		return s.describeSet(r, SourceClientMetrics), nil
	}
	return nil, refuse("Unsupported resource type: %d", r.Type)
}

func (s *Store) describeBroker(name string) (list []Value) {
	all := *s.dynamic.Load()
	for _, d := range s.tables[Broker] {
		v := Value{Name: d.name, ReadOnly: d.update == readOnly, Type: d.kind, Doc: d.doc, Source: SourceDefault}
		if name == "" {
			value, ok := all[Resource{Broker, ""}][d.name]
			if !ok {
				continue
			}
			v.Synonyms = []Synonym{{d.name, value, SourceBrokers}}
		} else {
			v.Synonyms = s.chain(all, d.name)
		}
		if len(v.Synonyms) > 0 {
			v.Value, v.Source = &v.Synonyms[0].Value, v.Synonyms[0].Source
		}
		list = append(list, v)
	}
	return list
}

// describeSet describes a resource whose own values are over the broker's or the default.
func (s *Store) describeSet(r Resource, own Source) (list []Value) {
	set := (*s.dynamic.Load())[r]
	for _, d := range s.tables[r.Type] {
		v := Value{Name: d.name, Value: d.value, Type: d.kind, Doc: d.doc, Source: SourceDefault}
		if value, ok := set[d.name]; ok {
			v.Synonyms = append(v.Synonyms, Synonym{d.name, value, own})
		}
		if d.synonym != "" {
			v.Synonyms = append(v.Synonyms, s.Chain(d.synonym)...)
		}
		if len(v.Synonyms) > 0 {
			v.Value, v.Source = &v.Synonyms[0].Value, v.Synonyms[0].Source
		}
		list = append(list, v)
	}
	return list
}

// checkNode refuses what is not this broker's number, or "" where that stands for all brokers.
func checkNode(name string, all bool) error {
	if all && name == "" || name == NodeName {
		return nil
	}
	if name == "" {
		return refuse("Broker id must not be empty")
	}
	if _, err := strconv.ParseInt(name, 10, 32); err != nil {
		return refuse("Broker id must be an integer, but it is: %s", name)
	}
	if all {
		return refuse("Unexpected broker id, expected %s or empty string, but received %s", NodeName, name)
	}
	return refuse("Unexpected broker id, expected %s but received %s", NodeName, name)
}
