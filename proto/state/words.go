package state

// The phases of a replica's copy of a partition: ReplicaPartition.phase.
const (
	PhaseBootstrapping = "bootstrapping" // it has no state, or not yet the one that it is to go on from
	PhaseFollowing     = "following"     // the log
	PhaseRepairing     = "repairing"     // it differs from the log, and that is being mended
	PhaseHalted        = "halted"        // it differs, or has failed, and goes on no more
)

// The methods of a repair: Repair.method.
const (
	MethodRehash = "rehash" // the rows were right, the digest that was kept of them was not
	MethodIndex  = "index"  // the rows are the log's, but some could not be read: the index told which
	MethodRows   = "rows"   // all rows could be read, but not what leads to them
	MethodSketch = "sketch" // cells of a set sketch
	MethodTags   = "tags"   // 8 bytes for each row of the log
	MethodDelta  = "delta"  // what has changed since the position, each key once; nothing else differed
	MethodFrame  = "frame"  // the whole key frame was loaded
)

// Phases are all phases that there are.
func Phases() []string {
	return []string{PhaseBootstrapping, PhaseFollowing, PhaseRepairing, PhaseHalted}
}

// Methods are all methods that there are, that which asks least of the log first.
func Methods() []string {
	return []string{MethodRehash, MethodIndex, MethodRows, MethodSketch, MethodTags, MethodDelta, MethodFrame}
}
