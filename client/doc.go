// Package client is how Go programs use Keyframe: Producer and Consumer, thin on franz-go, and Replica, a local copy of a
// topic's state that follows the log and proves itself against it.
//
//	r, err := client.OpenReplica(ctx, client.Config{
//		Brokers: []string{"127.0.0.1:9092"}, StateURL: "http://127.0.0.1:9094", Topic: "files",
//	})
//	defer r.Close()
//	row, ok, err := r.Get(ctx, []byte("README.md"))
//	for row, err := range r.Scan(ctx, []byte("docs/")) { ... }
//	for change, err := range r.Watch(ctx, nil) { ... }
//
// # What a replica does
//
// It asks the log how it becomes current, does what it is told, and follows the log from there: assigned partitions, committed records
// only, offsets never reset silently. Rows, position, incarnation and digest change together, under one lock (Memory) or in one
// commit (Dir).
//
// # How it becomes current
//
// For each partition it says what it has (Resume, of the state plane): nothing; or the incarnation of the log, the leader epoch of the last batch
// applied, and up to 16 points, each an offset with the digest of the state there and the log start that it respects. The position comes first,
// then the latest cuts at which the state was equal to the log; a Dir has both after a restart. The answer is one of
//
//   - CONTINUE: everything from the position on is in the log, and is read. Without a state and without any frame: begin empty.
//   - DELTA: load what changed since the position, each key once, deletions included, and go on from the cut. It is applied as one. So it is where the
//     log does not reach back to the position, and where it does, but has thousands of deltas more than there are rows that changed. Then nobody
//     sees the deltas between, those who watch neither: who needs each of them reads the topic (Consumer).
//   - FRAME: load the whole frame and go on from its cut.
//   - REPAIR: a point differs from what the log was there. The log is followed on, and what differs is dealt with at the frame's cut or, where
//     no frame lies above the position, where a comparison there finds it. Where the log does not reach back to the position, the frame is loaded.
//     In place of a state that must stay (see below) no frame is.
//   - RESET: the state is of no use: it is of another incarnation, from another branch of the log, or from above its end. The Event has the log's
//     reason (*ReasonError). The frame that comes along is loaded, or the log is asked once more, without a state.
//
// Where the log has no answer yet (BEHIND, TOO_MANY_LEASES), or does not answer at all, that is the Event BootstrapFailed, and it is asked again, with
// pauses of up to 32 times Config.Retry; a state that there is stays as it is meanwhile, and a stored one is followed as far as the log goes.
//
// What is loaded comes over HTTP, is read on with Range requests where the connection breaks or nothing comes for a minute, is held to the frame of
// the answer by its entity tag, by its header before any row is loaded, and by the rows and bytes that the answer named while they come, and shown
// only once row count, digest and pub agree with the rows: readers have the former state until then. Watchers are told of what changed, and of keys
// that vanished as deletions. A delta that does not lead to the frame's digest is loaded once more; if it still does not, the state had drifted before: it
// is applied all the same, as what follows in the log would have been, and at the frame's cut the drift is found, told and dealt with as any other. Not where
// the frame respects a higher log start than the state and the fold's deltas are no whole values: one may have been folded, before the position, onto a row
// that was gone. That is no drift: the Event is OutOfRange, and the whole frame is loaded.
//
// Key frames are announced to it as they are cut. Where nothing comes for three times as long as the broker lets pass at most without a word, 30 s, the
// stream of announcements is lost, whatever its connection looks like: what was missed is asked for, and the stream is opened again.
//
// With every answer but CONTINUE comes a lease: the log holds the frame, and what follows its cut. It is renewed in a third of its time,
// with the position reached, and released once the replica is where the log ended when it was given. If the log ends it before
// (it expired, it was revoked, the topic was deleted), that is the Event LeaseEnded, with the reason; what is being loaded is loaded to its end, and
// then the log is asked again.
//
// It is asked again as well when the position is no longer in the log or only rows are left of what followed it. Where rows have expired in a way that
// the state cannot follow, it is asked without a state. After a drift (Policy Rebootstrap) it is asked for a frame at or above the position to repair
// with, which is then loaded whole. A state plane of before the handshake answers nothing
// of this: then the newest frame that it lists is loaded, as it is by any replica that has nothing. Without a state plane see below. While it is
// down, a stored state is followed as it is.
//
// # Transactions
//
// Records are read once they are committed; those of aborted transactions are never seen, their markers are. The position is the offset
// behind the last record or marker seen. So it lies below the last stable offset where only aborted records are left in between and their
// marker lies behind another, open transaction: nothing is missing in the state, and it moves on with the next marker. A frame is
// compared when the next record or marker at or above its cut is seen, just before that is applied.
//
// # Rows among the deltas
//
// Below the delta start offset N1 the log has rows only, each at the offset of its key's last delta below N1. A replica that lags below
// N1, or that N1 overtakes, is given rows, and it cannot see that they are rows. Half of them is no state: a key that was overwritten on
// the way to N1 has its new value at a higher offset, and at the offsets between nothing at all.
//
// What is missing is what tells. From a position p with the right state, the record at p itself is applied: it is the delta at p, or
// the row whose last delta is the one at p, and then that row is what the delta made of its key. Either way the state at p+1 is right,
// and so on, however often N1 moves meanwhile, for every fold, deletions included. If the next record lies above p, something of what
// was at p is gone: a delta that a later one replaced, a tombstone below the horizon, one that the fold rejected; or the record of an
// aborted transaction, which readers of committed records never see. The latter alone can be above N1. So the state plane is asked for
// N1, after the fetch: N1 never goes back, so if it is at or below p now it was then, and the records are deltas. If not, none of them
// is applied, the Event is OutOfRange, and the partition asks how it becomes current.
//
// A replica that begins at earliest begins with the frame at N1 if the log is trimmed. Without a state plane it cannot, nor ask for N1. It
// then reads rows and deltas from the log's start into a state of its own, which it shows when it has read up to the end that the
// log had after the last gap; N1 is below that. A later gap makes it do so again, unless the batch that the log has there is one of a
// transaction, which is at or above N1, as no row is. As for every reader of a compacted topic this must take less than
// delete.retention.ms.
//
// # How it compares
//
// It learns of every frame that is cut and compares digests at its cut: when it reaches it; from a ring of recent digests, if it has passed it;
// else the log is asked for its digest at the replica's own position. Each comparison is a Verdict: equal, drifted, inconclusive
// or error, to the callback, the log and the metrics. Only equal passes. What differs is repaired, or drift is only reported, or halts the
// partition, or has it bootstrap anew (Policy).
//
// # How it repairs itself
//
// At the cut of a frame that differs it stops: the state is exactly at the cut. Where the drift was found elsewhere (in the ring, at an own
// position, by Scrub), it asks for a frame at or above its position, which all who ask share, and follows the log to its cut first. There
//
//  1. it hashes its stored rows anew. Where these are not what was applied, that is local corruption (CorruptionFound): memory or disk is to be
//     looked at. Else it is logical drift: a delta was lost, doubled or changed on its way. Of rows on disk that cannot be read, since the
//     checksum of a block is wrong, the index tells which they were: they are fetched with the others, in step 3, and no more than these;
//  2. it asks for cells of a sketch of the frame's rows (proto/sketch), as many as it takes to tell which rows differ, about 1.4 of 13 bytes for
//     each; where these would cost more than 8 bytes for every row there is, it asks for those 8 bytes;
//  3. it fetches the rows of the log that it lacks, each checked against what was asked for. With these in place of its own the digest must be the
//     frame's; then it is these keys that differ, and every one is named, in the log and to OnDifference, with the hash here and in the log;
//  4. it applies them and the deletions in one commit, which becomes visible only if all stored rows, hashed anew, have the frame's digest, with which
//     its pub was checked. The Event Repaired says how many keys differed and what it cost; and the log is followed on from the cut.
//
// Each of these ways that fails leads to the next, and the last is the whole frame. Nothing is taken from a broker that says that its frame's rows
// do not have the frame's digest, or that several replicas agree with one another and not with it (ErrUnrepairable), the whole frame neither: the
// state may well be the better one. It stays as it is and is followed on (RepairRefused), since a key that is wrong is no reason to withhold all
// others; every frame says again that it differs, until one can be repaired from. While replicas agree against the broker it still tells what differs: the
// keys are named as in step 3, once for each set of them, and left as they are. When that is settled the stream of frames says so, and
// what was refused is asked for again at once. Who would rather stop has the policy Halt. The same goes for the
// policy Rebootstrap: while replicas agree against the broker, its frames are loaded by who has no state, and take the place of none.
//
// A state that the log does not go on from, because what was deleted since is no longer known, would only grow older: the newest frame takes its place, and
// whether it differed is not known any more. Not where more is known of it (*ReplaceRefusedError): while replicas agree against the broker the partition stops,
// or does not open, whatever the policy, and the state stays as it is until that is settled; and with the policy Halt, where the state was found to differ,
// before it was closed or now. A state that differs, was reported (Report) and is not disputed is replaced.
//
// Whatever the policy, the keys that differ are named, all of them: what names them is a log. Of a row on disk that cannot be read the index has what was
// applied (Difference.Applied), and that is compared with the log as the others are: so a key that has drifted is told from one whose row has rotted,
// and nothing is said of the log's row that the log has not said; of one that the log start has passed (Difference.Expired) it has none. The partition
// stands still meanwhile, and nobody else waits for who logs slowly. Where nothing is repaired they are found as VerifyDir finds them, at the position, without
// a key frame there, and also while the broker repairs nobody: once, until other keys differ, or other rows of theirs (KeysNamed).
//
// With the policy Halt a partition that differs is no longer followed, at once; the Event Stopped, and what waits for its end, comes once nothing is due in
// any other partition: every one has been compared at the key frames that are known when it halts, for which the log is asked, or has halted itself. So who
// closes the replica then has been told every key of every partition, and Err has the reasons of them all. A partition of which nothing is due, since no
// frame lies above its position, is not waited for, and none longer than half a minute, but for keys that are being named. Close ends the wait. Whatever
// else a partition stops for, whatever the policy, is told in the same way.
//
// What happens to a partition is told by a goroutine that follows no log and holds no lock, in order, so that callbacks may call the replica. Config says
// what they may wait for.
//
// Who waits in Watch is told what was put right as changes. Whoever comes back with a position at or below the cut was told of a wrong state, and what
// was put right lies below that position too: *WatchResetError, up to the cut itself. So it is where another state takes the place of a wrong one, and
// where the log took another way than the state (FUTURE_POSITION, DIVERGED): up to the position that the state had. A Dir store keeps that position, from
// before what was put right is stored: so it is also once the directory is opened again, whoever repaired it, and however that process ended.
//
// Rows that the log start has passed (cleanup.policy=compact,delete) leave the log's table at a cut, and the replica's with it: at the cut, if
// the frame is known by then. Where it is known later, the rows leave later, which is the same for a fold whose every delta is a whole
// value; for the others, a delta may have been folded onto a row that was gone, and the partition loads the newest frame. Watchers see a
// deletion that is marked as Expired. Where no delta comes, the frame at the replica's own position is superseded by one with a higher log
// start: it lets the rows go there, and compares once more. So a Position has the log start too: who resumes from the one before is told
// what has expired, or, where that is not known, to begin anew.
//
// When the position is no longer in the log, or only rows are left of what followed it, or the log is another one (incarnation, or a
// leader epoch that ended below a position that a Dir store resumes), the partition says so in an Event and asks how it becomes current.
//
// Where the topic gets more partitions, a replica of all of them ends with the Event TopicGrew, so that it does not go on with a part of the
// topic; one that was opened with Config.Partitions goes on with its own.
//
// # Damage of a directory
//
// A block of rows that cannot be read costs these rows, as said; those of them that the log start has passed leave with the others, by what the index has of
// them. An index that cannot be read is made anew from the rows, and nothing is received. Where a file, or the database, cannot be opened as a directory is, a
// table ends before a cut at which it was verified, or tables could not be written beside what is damaged, table/ is renamed to table.damaged/, in place of
// what was set aside before. Partitions of which all rows can be read there are copied, the others load a key frame; the Event of each is CorruptionFound, and
// the replica keeps its name. VerifyDir says so beforehand. A replica that meets such damage while it is open stops with ErrReopen, and replica.json says so:
// the tables are set aside as it is opened again, whether that meets the damage or not. With the policies Report and Halt OpenReplica returns ErrCorrupt where
// the tables cannot be opened, and with any where VERSION or replica.json is damaged, a *damage.Error: whose directory it is cannot be told.
//
// # What it reports
//
// A replica with a state plane tells the broker how it is doing: its name, its process, and what it has drawn when it was opened, which tells it from another
// of that name, such as one on a copy of its directory; positions, the latest verdict with the digest here (a state that was loaded and held to the log's
// digest is equal there, whatever was said of the one before), the latest repair; after each of these, as often as the broker asks, and when it closes. So
// the broker knows every replica, and can tell a replica that is wrong from one of several that are right where it is wrong itself. Nothing waits for that,
// and a broker that does not answer changes nothing. keyframe replica list prints it.
//
// # What it proves
//
// Keys and values. Offsets, timestamps and headers of rows are covered by checksums of transport and storage only. Scrub tells
// whether the stored rows are still what was applied. So does a pass in the background, at Config.ScrubRate, over all rows of a partition
// after the other: a row that memory or disk changed is the Event CorruptionFound, whatever the log says, and is repaired as a drift is, or as
// else the Policy says (Report reports it once). In memory the rows are summed up and the sum compared; on disk each row is compared with its index entry.
// The digest that is compared with the log is kept beside the rows. So once rows are known to be corrupt, a comparison that finds it equal is the verdict
// error, with ErrCorrupt, until they were repaired, another state took their place, or all rows, hashed anew, are what was applied. In memory a row that is
// overwritten goes out of the digest as it is then: so what differs may be what was corrupt, and is that verdict too, also where other keys have drifted, until
// the log has overwritten all that was corrupt. With the policy Report the keys are named all the same, corrupt ones and others, at the next comparison and
// again whenever what is between the rows, hashed anew, and the log is another (KeysNamed, without DriftFound). To name them all rows are hashed anew, too.
// Once the log has overwritten what was corrupt the rows, going by how they were hashed anew, have the log's digest, and are equal. That they are corrupt is
// known as long as the replica is open.
//
// # What a producer has said
//
// A replica that equals the log has what the log has; a delta that never came to be in it is missed by nobody. So a Producer may keep the state that it
// has said (ProducerConfig.KeepState): it begins with the log's key frames, folds every record when it is handed in, whatever becomes of it, and costs what a
// replica in memory costs. Assert compares that with the log; PublishState of State mends what differs.
//
//	p, err := client.NewProducer(ctx, client.ProducerConfig{Brokers: ..., StateURL: ..., Topic: "files", KeepState: true})
//	p.Produce(ctx, p.Put(key, value), nil)
//	if a, err := p.Assert(ctx); err == nil && a.Outcome == client.Drifted {
//		log.Print(a.Reason)
//		_, err = p.PublishState(ctx, p.State(), client.PublishOptions{})
//	}
//
// It is for topics that have one writer: another one is drift too. Records that are given to the franz-go client beneath (Client) are not said.
//
// # What a source has
//
// Where the state lives in another system, such as a database that a connector or a dual write brings into the log, its rows are compared with the log
// by Compare, and written by PublishState: the keys that differ and no others, in one transaction where that is asked for.
//
//	done, err := p.PublishState(ctx, rows, client.PublishOptions{TransactionalID: "files-loader"}) // rows: iter.Seq2[client.Row, error]
//	log.Print(done.Puts, done.Deletes, done.Moved, done.Verdict)
//
// Package client/reconcile says how they are compared, and what becomes of keys that a producer writes meanwhile.
//
// # A directory that is not open
//
// VerifyDir compares the directory of a replica that does not run with the log, and changes nothing in it. The stored rows are hashed anew (where that is
// not the digest that was kept, memory or disk has changed them) and the log is asked for its digest at the directory's position. Where they
// differ, the difference is found as for a repair, with the key frame whose cut is nearest, above the position or below. The log's Diff between the two
// tells which keys it has changed on the way, and what it had for them at either end: the copy's rows of these keys are compared with what the
// log had at the position, and are taken for the frame's in the comparison with the frame, which so finds all others that differ, and no more.
// That with the log's rows in their place the copy has the log's digest proves that it was these keys.
//
// Where the log no longer knows its state at the position, but still what has changed since, the copy is compared at the cut of a frame, with the keys
// that have changed taken for the frame's, as they will be once they are loaded; what the copy had for them is not judged. Where nothing else differs the
// verdict is inconclusive, unless none has changed.
//
// # The directory
//
// A replica in a directory (Dir) has it as storage/engine lays it out, of kind replica, with
//
//	table/        Pebble: storage/table's tables, one ordinal for each state of a partition
//	table.damaged/   a table/ that was set aside; one is kept
//	loading/      sstables on their way into it
//	replica.json  whose state each ordinal is
//
// replica.json is UTF-8 JSON, two spaces of indentation, one line feed at the end:
//
//	version       number, 2; version 1 has no name and no verified
//	crc32c        8 hexadecimal digits, CRC-32C of the file without this line; may be missing, as it was in former days
//	topic         the topic's name
//	name          the replica's, unless Config.Name gives it another
//	partitions    array, in the order in which they were loaded; null: none was yet
//	  partition   number, its index
//	  ordinal     number, of its table; tables with other ordinals are left over from a crash and are dropped
//	  topic_id, incarnation   32 hexadecimal digits each: the log that the table follows
//	  fold        the topic's keyframe.fold
//	  verified    array of cuts at which the state was equal to the log, newest first, at most 15; may be missing, and may be behind;
//	              a table that ends before one of them is damaged
//	    offset, count, start   numbers
//	    sum       64 hexadecimal digits
//	    time_ms   number, when that was first found, since the epoch; may be missing: not known
//	  lost        true: the table was set aside, and there is no state; may be missing: false
//	  halted      number: the offset at which the state was found to differ from the log when that ended following (policy Halt), until it is
//	              equal to the log there or above; may be missing: it was not
//	  distrusted  number: up to this offset, itself included, nobody resumes to watch, since rows were put right or replaced there, or were about to be;
//	              may be missing: none
//	damaged       text: why nothing could be loaded beside what is damaged, so that who opens the tables next sets them aside; may be missing: nothing is known
//	              of such damage
//
// It is never torn: it is written under another name (replica.json.tmp), synced, renamed, and the directory is synced. The tables hold topic id,
// partition, incarnation and fold too, checksummed, and are refused where they differ.
package client
