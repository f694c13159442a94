// Package quota bounds what clients may take of the broker: Kafka's client quotas (KIP-13, 55, 124, 546, 599, 612), and bounds on each
// connection.
//
//	m, err := quota.Open(quota.Config{Store: catalog, Now: time.Now})
//	wait := m.Record(quota.Produce, quota.Client{User: "ANONYMOUS", ID: "app"}, bytes)
//
// Record counts what a client took and says for how long it has to be left alone. The caller answers first and then reads nothing more
// from the connection for that time (KIP-219).
//
// # Windows
//
// A rate (Rate) is what was counted in the last 11 windows of a second, over their time; whoever is above its bound waits until
// it would be at it. The rate of changes to topics (Bucket) is a bucket of tokens that holds 11 seconds of its bound. Both are plain
// state machines: time comes in, a wait goes out.
//
// # Whose quota
//
// The most specific entity that has a quota of the kind counts, in this order: user and client id, user and the default client id,
// user, the default user and client id, both defaults, the default user, client id, the default client id, and at last what the broker's own
// configuration says. A quota for a user is shared by all of its clients, one for a client id by all users, and one for a default is each
// one's own. A quota for an address is one of its connections.
package quota
