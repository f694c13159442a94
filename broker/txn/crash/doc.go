// Package crash has tests of transactions against the real binary, which is killed again and again under load, behind a proxy that loses
// answers and lets requests arrive late. A checker in the manner of elle's list-append decides from the history of all clients and from
// what is in the log whether a transaction was lost, torn, doubled, reordered, or read although it was aborted; mutants of the broker
// show that it does. There is nothing here but tests.
//
//	KEYFRAME_TXN_CYCLES=50 go test ./broker/txn/crash -run ListAppend     kills
//	KEYFRAME_ETL_RECORDS=500000 go test ./broker/txn/crash -run ETL       records through consume, transform, produce
package crash
