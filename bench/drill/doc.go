// Package drill breaks a running system on purpose and measures what becomes of it: a broker, replicas and producers of its own in a
// temporary directory, one fault after the other, and for each of them when and by what it was found, and what it took to put it right.
//
//	report, err := drill.Run(ctx, drill.DefaultConfig())
//	for _, f := range report.Findings { ... }
//	if !report.OK() { ... }
//
// # The faults
//
// Nothing in the code under test knows of them: they happen on the network (package drill/proxy stands between a replica and the broker, or between
// a producer and the broker), or in the files of a replica that is closed.
//
//   - Lost: a replica is given a batch without one of its records.
//   - LostBatch: a replica is not given a batch at all.
//   - Doubled: a delta of an aborted transaction, which was sent again, is applied with the one that took its place.
//   - Mutated: one bit of a value changes on its way to a replica; the checksum of the batch is right.
//   - BeforeLog: a write is acknowledged, and never reaches the log; the program that wrote it has it in its state.
//   - Flipped: one bit of a row changes in the files of a replica.
//   - Asleep: a replica comes back after the deltas that it lacks were trimmed.
//
// # What is measured
//
// Times are taken where the fault happens and where the replica tells of it (Config.OnVerdict, OnEvent). Bytes are those of the connections between
// replica and state plane, in both directions, HTTP heads included: from the verdict to the end of the repair, or from the opening to the end of the
// catching up; of a program that compares its state with the log, those of its connections to both planes. Beside it stands what a whole key frame
// takes, which is downloaded over such a connection too. Which keys differed is what the replica names (OnDifference); it is held to those that were
// harmed. Of a block with a bit that has flipped no row can be read, so all that were in it are named: about 256 of the default size, however many
// there are. Where the topic is so small that its table has one block, the table cannot be opened: it is set aside, and a whole key frame is loaded.
//
// The second proof of a repair is the next key frame, which is cut after each fault. At the end of the drill all replicas, those that were
// broken and those that were not, have the digest of the log and of the state that was produced.
package drill
