// Package proxy is a middleman between Kafka clients and a broker that breaks what passes, on purpose: it is how a fault drill loses, doubles
// and changes deltas without a hook in the code under test.
//
//	p, err := proxy.Start(brokerAddr)
//	defer p.Close()
//	// a client whose seed is p.Addr() stays with the proxy
//	lost := proxy.Lose("users", 0, 120, 121)
//	p.Inject(lost)
//	<-lost.Done() // a consumer has been given the batch without the record at 120
//
// # What passes
//
// Frames of the Kafka protocol, in both directions, a connection to the broker for each of a client's. Without a fault every byte
// arrives as it was sent, but for the broker's addresses in answers to Metadata, FindCoordinator and DescribeCluster: they become the
// proxy's, so that a client that was pointed at it stays, while others reach the broker directly. Answers come in the order of the
// requests, as the protocol wants it.
//
// # What a fault leaves
//
// Batches that a fault changes are encoded anew, with offsets, producer, sequence, last offset and number of records as a compacted
// batch has them, and the right checksum: nothing in the protocol tells that they were touched. A fault holds for good: whoever fetches the
// same offsets again is told the same lie.
//
//   - Lose takes records out of a batch, or the batch as a whole where all of its offsets are lost.
//   - Change gives records other values.
//   - HideAbort leaves out that a transaction was aborted, as a reader without isolation does not know: what was sent again in
//     another transaction is applied twice.
//   - Swallow acknowledges one produce request that the broker never sees.
package proxy
