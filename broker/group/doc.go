// Package group is the coordinator of consumer groups: classic ones, in which members join, a leader among them assigns
// partitions, and all of them commit offsets (JoinGroup, SyncGroup, Heartbeat, LeaveGroup, OffsetCommit, OffsetFetch and the
// admin calls), and those that the broker balances (KIP-848: ConsumerGroupHeartbeat, ConsumerGroupDescribe), whose state
// machine is package consumer. What it decides is what Apache Kafka decides.
//
// A Group is one classic group as a state machine without goroutines, locks and clocks. Each step takes the time and an event and
// returns its effects: answers to requests that waited, and metadata to be made durable.
//
//	g := group.New(now, group.Options{InitialRebalanceDelay: 3 * time.Second, MaxSize: 100})
//	fx := g.Join(now, 1, &group.JoinRequest{NewMemberID: "a", ...}) // answered later: fx is empty
//	at, _ := g.Deadline()                                           // in three seconds
//	fx = g.Tick(at)                                                 // the answer to ticket 1
//
// Its conversations are in testdata/script.
//
//	Empty --join--> PreparingRebalance --all joined, or time--> CompletingRebalance --assignment durable--> Stable
//	                      ^   |                                      |                                        |
//	                      |   +--nobody joined--> Empty              |                                        |
//	                      +---------- a member comes, changes, leaves, or is not heard of --------------------+
//
// The Coordinator owns the groups of a broker. It keeps their time with one goroutine, does the writes of one group one
// after the other and those of different groups side by side, so that they share the store's group commit, and calls
// back when a request has its answer. An offset is visible and acknowledged when it is durable. A group survives a
// restart as of its last assignment; members that send a heartbeat within their session timeout notice nothing.
//
// A group changes its kind while it is in use. The first ConsumerGroupHeartbeat that joins a classic group of consumers
// makes it one that the broker balances: the classic members are told to join again, and take part from then on with their
// own protocol. When the last member of the new protocol is gone, it becomes a classic group again. A group without members
// is of no kind: whoever comes first decides. Offsets stay in all of this.
//
// An offset is dropped offsets.retention.minutes after its group became Empty (KIP-211), or after its commit if the group
// never had members or its members do not read the topic; and with its topic. A group without members and offsets is
// dropped at the next sweep.
//
// # Metadata
//
// Offsets are stored by storage/catalog. The metadata of a group that the broker balances is in package consumer; that of a
// classic group, the value of Store.PutGroup, is
//
//	version      1 byte, 1
//	protocol type, protocol     bytes: a uvarint length and as many bytes
//	generation   uvarint
//	leader       bytes, the member id; empty without members
//	since        uvarint, Unix milliseconds of the change to this state
//	members      uvarint count, and of each
//	    id, instance id, client id, client host    bytes; an empty instance id is a dynamic member
//	    session timeout, rebalance timeout         uvarint milliseconds
//	    protocols    uvarint count, and of each the name and the metadata, bytes
//	    assignment   bytes
//	checksum     4 bytes, big-endian CRC-32C of all before it
//
// Members are in the order in which they joined. A group without members is Empty, any other Stable.
package group
