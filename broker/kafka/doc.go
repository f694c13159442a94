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
// transactions), how it waits without polling, what it may hold in memory (rows, and of what is on disk one chunk of 1 MiB, or one larger batch, for each
// connection that is being answered; FetchOutstandingMax for all of them), and the fetch sessions of KIP-227, which belong to no connection
// and whose number and memory are bounded. throttle.go asks package quota how long a client has to be left alone.
//
// The broker is a cluster of one: node 1 is controller, coordinator, leader and only replica of everything.
//
// # What a consumer sees on a key-framed topic
//
// Each clause, and what holds it: a test here, one of another package (its name is before the dot), or a capability that real clients are
// put through (broker/interop/capabilities.txt). conformance.TestDocNamesTests holds the table to what there is.
//
// Below the delta start offset N1 are rows, above it the batches that were produced:
//
//	in offset order; the first is the first row at or above     keyframer.TestRowsOfLastValue, TestBelowTheDeltaStartAreRows
//	batches are built per fetch, and none is empty              keyframer.TestRowsOfLastValue, keyframer.TestRowsInSmallAnswers
//	the last offset of one is the next row's less one, N1 - 1   keyframer.TestRowsOfLastValue, keyframer.TestRowsInSmallAnswers
//	split before an offset delta passes 2^31-1                  keyframer.TestRowsSplitOnOffsetDelta
//	split where the leader epoch changes                        keyframer.TestRowsSplitOnLeaderEpoch
//	no producer id, epoch or sequence, not transactional        TestRowsReadCommitted, keyframer.TestRowsOfLastValue
//	no list of aborted transactions, and none is needed         TestRowsReadCommitted, TestRowsOfTransactions
//	each row has its record's own timestamp and headers         TestRowsKeepTheirTimestampsAndHeaders, TestRowsOfLogAppendTime
//	look-ups by time see rows                                   TestListOffsetsByTimeAmongRows, TestListOffsetsByTimeWhileTrimming
//	a reader comes to the end, from anywhere                    conformance.TestReadToTheEnd, capability `bootstrap`
//	a consumer arrives at the state, from the horizon or above  keyframer.TestModel, TestBootstrapAmongDeletes
//
// Rows of other folds than last-value:
//
//	say keyframe.op=put, or delete, in place of their own op    keyframer.TestRowsOfFoldsSayPut, TestDebeziumRows, capability `folds`
//	are never folded again                                      TestRowsFoldToThemselves
//
// The log start:
//
//	earliest is 0 until retention or DeleteRecords moves it     TestBelowTheDeltaStartAreRows, keyframer.TestRetentionOverRows
//	over rows: nothing below comes, and that is out of range    TestDeleteRecordsAmongRows, capability `log-start`
//	in the table it takes effect at a cut                       TestDeleteRecordsAmongRows, keyframer.TestRetentionOverRows
//
// Deletes:
//
//	tombstones outlive their trim by delete.retention.ms        keyframer.TestTombstonesExpireAfterTheirTrim
//	below the horizon a fetch is stale; kafka: served, counted  TestStaleFetchWhileBootstrapping, capability `stale`
//	... error: out of range                                     keyframer.TestStaleFetch, capability `stale`
//	... unless the connection reads from the log start          TestStaleFetchWhileBootstrapping, keyframer.TestBootstrapWhileTombstonesExpire
//	... without a gap                                           TestSkippedAnswersAreNotRead, TestStaleFetchBehindTheFirstAnswer
package kafka
