// Package replicas keeps what replicas report: who they are, how far they are, whether they equal the log, what they repaired.
//
//	r, err := replicas.Open(replicas.Config{Find: replicas.In(keyframer), Store: catalog})
//	answer, err := r.Report(replicas.Topic{ID: id, Name: "files"}, request)
//	if r.Disputed(id, 0) { ... } // nothing is repaired from this partition
//
// # What is kept
//
// One report for each replica and topic, the latest, in memory alone: after a restart of the broker the replicas report again; disputes, and how they
// ended, are in Config.Store as well. A replica that has been silent for Config.ForgetAfter is forgotten; one that leaves, at once; one that has halted does not say so. There are at most
// Config.ReplicasMax of them, of at most Config.BytesMax; who would be one too many takes the place of a replica whose report is overdue, or is refused:
// nobody loses a place by what others report.
//
// # Names and processes
//
// A name is to be that of one process at a time. Processes are told apart by what each draws when it opens its replica, the instance. A report of a new
// instance is taken for that of a process that has started again, however the one before ended: it takes over the entry of the name, with what was claimed
// in it, and nothing is said. But one that was replaced and reports again lives beside the other, so that two are known one interval after the
// second one came at the latest. Then each is listed, with how many they are; a metric counts the name, and it is logged, once for as long as
// that lasts. Of several the one whose report is overdue (two intervals) has ended, and is forgotten. So who starts again is never taken for a second
// process, unless a report of its former life arrives behind the first of the new one, and then for two intervals. Copies of a directory, and those
// who were given one name, are.
//
// Of one name eight processes are kept; later ones share the last entry. Where there is no room for a second one, it is refused as any other.
//
// # Lag
//
// Offsets from the position that a replica reported to the last stable one, and for how long the first of them has been there, by the log's index of
// append times; both as of when somebody asks. As in a consumer's lag, records of aborted transactions and markers count: how many of them there are is
// not known without reading the log from the position on. So who is stopped falls behind at once, and who keeps up with a log that grows is shown behind by what
// came since its report. Where the first of them is no longer kept as a delta, when it came is not known: the time is that of the first that is, and
// less than its own.
//
// # Disputes
//
// A replica that differs from the log is wrong, or the log's table is. The replica cannot know, and one word is nobody's proof. But two that made
// the same mistake are unlikely: where two replicas of different names report the same count and sum at the same cut under the same log start, and
// the broker's frame there says something else, the partition is disputed, and Disputed keeps broker/repair and Resume from spreading
// what may be the broker's error: no state is repaired from it, nor replaced by a whole frame because it differs. Frames are served on, to who has
// no state, or one that the log does not go on from. A report counts once for its name, however often it comes and from however many processes, and not at all if the broker's frame
// contradicts it (it says drifted, and is equal), or if it is of another incarnation or from the future.
//
// A dispute ends when one of its replicas compares equal at a later cut, by itself: one that was repaired from the log meanwhile, that
// loaded a frame, or that is another process under the same name holds the broker's own word, which proves nothing. Or it ends when an operator
// says so (ClearDispute), after keyframe check has folded the log again: then what the replicas of the dispute say against the
// broker counts no more until they have been equal once, so that they can be repaired. That holds for who is away meanwhile, across further disputes that are
// settled, and across a restart of the broker; but for a name that is not heard of for 30 days, and for the 256 of a partition that were heard of last.
// What was said up to the cut at which a dispute ended, however it ended, begins no other, whoever says it.
//
// # Labels
//
// Metrics have the labels topic and partition, of topics that exist, and never a name that a replica chose.
package replicas
