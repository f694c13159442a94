// Package kafka answers the Kafka protocol's requests: one file per API, one table (errors.go) from what the rest of the
// broker reports to Kafka's error codes.
//
//	h := kafka.New(kafka.Config{Registry: registry, Producers: catalog, ...})
//	server := wire.New(wire.Config{Handler: h})
//
// A handler is a method of Handler that takes one kmsg request and returns a wire.Response. It runs in the connection's
// reader goroutine; what waits (an fsync, records, a rebalance) is put into wire.Later, which the connection's writer runs
// in request order. handlers() in dispatch.go is the table; what ApiVersions offers is what is in it, in the versions of
// proto/guard, because no request is decoded that guard has not walked.
//
// fetch.go and its neighbours are more than one API's file: what a fetch reads (rows below the delta start offset, batches, aborted
// transactions), how it waits without polling, what it may hold in memory, and the fetch sessions of KIP-227, which belong to no connection
// and whose number and memory are bounded. throttle.go asks package quota how long a client has to be left alone.
//
// The broker is a cluster of one: node 1 is controller, coordinator, leader and only replica of everything.
package kafka
