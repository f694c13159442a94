// Package consumer is the state machine of a consumer group that the broker balances (KIP-848): its members send
// ConsumerGroupHeartbeat and nothing else, and the answers tell them which partitions to give up and which to take.
//
//	g := consumer.New(now, consumer.Options{SessionTimeout: 45 * time.Second, HeartbeatInterval: 5 * time.Second, MaxSize: 100, Topics: topics})
//	reply, fx := g.Heartbeat(now, &consumer.HeartbeatRequest{MemberID: "a", Names: []string{"t"}, Owned: assign.Partitions{}, ...})
//	at, _ := g.Deadline() // when the member's session ends
//
// A Group has no goroutine, lock or clock. Nobody waits for other members in it: each step has its answer at once, and says whether
// the group has to be made durable before the answer is given (Effects.Save), because what a member was told must not be taken back
// by a crash.
//
//   - The group's epoch is that of its members, their subscriptions and the topics; each change of those takes it one further.
//   - The target assignment is made for an epoch by an assignor (package assign), as soon as anybody sends the next heartbeat.
//   - A member's epoch is that of the assignment it has. On the way to its target it first gives up what is not its any more and
//     stays at its epoch until it says that it did; then it goes to the target's epoch and gets of its target what is free; what
//     others still have it gets with later heartbeats.
//
// So a partition has at most one owner at any time: Group.own is the one place that changes owners, and panics otherwise.
// A member that does not send heartbeats, or does not give up in time what it must, is removed, and learns it from UNKNOWN_MEMBER_ID.
//
// Members of the classic protocol can take part while a group migrates: classic.go. Upgrade makes a consumer group of a classic one and
// Downgrade is the way back.
//
// # Metadata
//
// What Append writes, integers as uvarints unless a size is given, strings as a length and the bytes:
//
//	version           1 byte, 2 (1 is a classic group)
//	epoch, assignment epoch
//	digest            8 bytes, of the topics that the epoch knows: their ids and numbers of partitions
//	since             Unix milliseconds of having members, or none
//	members           count, and of each
//	    id, instance id, rack, client id, client host, regular expression, assignor     strings
//	    rebalance timeout in ms
//	    epoch + 2, previous epoch + 2     -2 is a static member that will be back
//	    state                             1 byte: 0 stable, 1 unrevoked, 2 unreleased
//	    topic names                       count and strings
//	    target, assigned, revoking        topic count, and of each: id 16 bytes, partition count, partitions as differences; behind each
//	                                      partition of assigned and revoking the epoch at which the member got it
//	    protocols                         count, 0 for a member of the new protocol; each a name and the metadata
//	    session timeout in ms             of a classic member only
//	checksum          4 bytes, big-endian CRC-32C of all before it
package consumer
