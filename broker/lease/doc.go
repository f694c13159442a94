// Package lease keeps what replicas hold: while one loads a frame, and until it has joined the log's end, the frame is neither thinned nor
// trimmed away, and neither are the deltas from the frame's cut on.
//
//	d, err := lease.Open(lease.Config{Store: catalog, Bytes: keyframer.BytesFrom, Full: full})
//	l, err := d.Grant(lease.Terms{Topic: "files", TopicID: id, Replica: "r", Cut: cut, Since: -1, From: cut}) // where nothing is trimmed meanwhile
//	err = d.Persist(l)                                                                                       // before the replica hears of it
//	l, err = d.Renew(l.ID, position)                                                                         // every 10 s
//	err = d.Release(l.ID)
//
// # What is held
//
//   - the raw deltas from From on. From follows the position that the replica reports, and never goes back;
//   - the frame at Cut, until the position lies above it. At the cut it is held still: a replica that repairs stands there;
//   - where Since is not -1: tombstones from there on, until the position has reached the cut. What changed since is not complete without them.
//
// The keyframer asks Held before it trims, thins, or lets tombstones expire. Retention of cleanup.policy=delete is not held up: the log start
// moves over what is leased, as it does over what any consumer reads. A replica whose frame was superseded by that finds another ETag, and
// one whose next offset lies below it an offset out of range; both ask Resume again.
//
// # How it ends
//
// A process that runs a replica has one lease a partition: another grant takes the place of the former. Processes of one name are told apart by what each
// has drawn (Instance), and take none of each other's, be they copies of one directory. A process that was killed and starts again is another one: what
// it held expires, 30 s after its last renewal. Of one name there are at most eight leases in a partition, however often a process starts again: one more takes
// the place of the latest, as it does where the desk has no room. Otherwise a lease ends with its release, with its expiry
// (30 s after the grant or the last renewal), with the deletion of its topic, or by revocation: where its frame is lost, as rows of the table were
// damaged and are folded anew; and where it holds up a trim and
// holds more bytes than it may, or its topic's leases do, or the disk has no room left. What it holds is the raw bytes from From
// on. The largest goes first, which is the one with the lowest From, and with it those of the partition that hold as much: one of them
// alone would free nothing. A lease that holds nothing up costs nothing, and is left alone, whatever its size.
//
// The next call after the end gets the reason (ErrExpired, ErrRevoked, ErrTopicDeleted). Reasons are kept in memory, of so many leases;
// a lease that nothing is known of counts as expired.
//
// # What is durable
//
// A grant is, before it is told, in one write; whose process it is, is not. Renewals are not: a restart gives each lease its full time again, and From as it was granted,
// which lies lower and so holds too much until the next renewal. Ends are written without a sync, so that one may come back with a
// crash, after what it held is gone. Whoever renews has to look, as broker/state does: what a lease names has to be there, or
// it is revoked.
//
// # Layers
//
// machine.go is the state machine, without a goroutine, a lock or a clock: times come in. Desk puts a lock and the catalog around it. Nothing
// runs in the background: each call ends what has expired by then.
package lease
