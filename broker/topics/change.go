package topics

import (
	"maps"
	"slices"
)

// Difference says in words what became of what was set: NAME=VALUE of what is new or another, and the names of what is gone, in order.
func Difference(before, after map[string]string) (set, unset []string) {
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if old, ok := before[name]; !ok || old != after[name] {
			set = append(set, name+"="+after[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[name]; !ok {
			unset = append(unset, name)
		}
	}
	return set, unset
}

// checkChange refuses a change of configuration that would give the records that are there another meaning.
func checkChange(t *Topic, next *Config) error {
	now := t.Config()
	if t.empty() {
		return nil
	}
	if now.Fold != next.Fold {
		return &ConfigError{Name: foldConfig, Reason: "keyframe.fold can only be set while the topic is empty: the records of topic '" +
			t.Name + "' were written for fold " + now.Fold.String()}
	}
	return nil
}

// empty reports whether no record was ever appended.
func (t *Topic) empty() bool {
	for _, p := range t.Partitions {
		if p.Log.Bounds().LogEnd > 0 {
			return false
		}
	}
	return true
}
