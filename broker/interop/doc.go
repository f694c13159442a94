// Command interop runs real clients, unchanged, against the real binary, and prints what each of them can do.
//
//	make interop                                 every client, against a broker of ours that it builds and starts
//	make interop ADDR=127.0.0.1:9092             against that broker instead, Apache Kafka for one: all of it that Kafka has passes there
//	make interop CLIENTS=franz-go,kcat           some of the clients; ONLY=groups,rebalance: some of the capabilities
//	make interop REQUIRE=kcat                    a client that is not installed is a failure (REQUIRE=all: any)
//	make interop README=1                        writes the tables into README.md, between its markers
//	make interop JSON=result.json                the result for programs
//
// A client is driven by a small program, its driver, in a module of its own: golang (a Go module), node (npm), python (Debian's
// packages), kcat (a script), java (Maven). What a capability means, and what a driver is given and prints, stands in
// capabilities.txt, which is the same for all of them.
//
// The runner makes the topics that the drivers only read, trims them, and waits until they are. What has to come from them it knows from what it
// wrote: no broker is asked. The clauses of what a consumer sees on a key-framed topic are a table in the doc of broker/kafka, with the tests
// and the capabilities that hold them.
//
// Rows of other folds and keyframe.stale.fetch are not Kafka's: against a broker that is not ours `folds` and `stale` are skipped. A client that is not
// installed is named, counted and skipped; a capability that the client does not have is skipped with the reason. The exit status
// is 1 when anything failed.
package main
