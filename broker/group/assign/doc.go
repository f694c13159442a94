// Package assign has the assignors of consumer groups that are balanced by the broker (KIP-848): who gets which partitions.
//
//	target, err := assign.Assign("uniform", members, func(id assign.TopicID) int { return partitions[id] })
//
// Both are Kafka's. Uniform gives every member the same number of partitions, give or take one, and moves as few as it can from
// what the members have. Range gives each member a run of consecutive partitions of every topic, so that topics of the same
// size are partitioned alike; it looks at the members' order only, static members first, by instance id.
//
// The same members, topics and partitions give the same result: nothing here depends on the order of a map.
package assign
