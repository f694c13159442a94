package topics

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
