// Package txn is the coordinator of transactions: which producer has a transactional id, which partitions and groups its transaction
// writes to, and how it ends (InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, the transactional part of Produce and
// TxnOffsetCommit, and the admin calls). What it decides is what Apache Kafka decides, with transaction.version=2 (KIP-890) and for the
// clients from before it.
//
// A Txn is one transactional id as a state machine without goroutines, locks and clocks. Each step takes the time and an event and
// returns its effects: a state to be saved, an end to be written, answers to those who waited.
//
//	x := txn.New("tx", producerID, expiration)
//	reply, fx := x.Init(now, txn.InitRequest{Timeout: time.Minute})        // epoch 0; fx.Save
//	err, fx := x.Begin(now, reply.Producer, partition, true)               // fx.Save: the partition is in
//	fx = x.Done()                                                          // the batch is in the log
//	fx = x.End(now, 1, txn.EndRequest{Producer: reply.Producer, Commit: true, EpochPerTxn: true}) // fx.End
//	fx = x.Ended(true)                                                     // the answer to ticket 1: epoch 1
//
// Its conversations are in testdata/script.
//
//	Empty --a partition or group comes in--> Ongoing --EndTxn, time-out, InitProducerId--> PrepareCommit or PrepareAbort
//	                                            ^                                                      |
//	                                            |                                        the batch of the end is durable
//	                                            |                                                      v
//	                                            +------------------------------------- CompleteCommit or CompleteAbort
//
// # Durability
//
// The log, the offsets and the transactions are in one database, so the end of a transaction is one atomic batch: the markers of all
// its partitions, its offsets, and its state. A crash leaves all of it or nothing; PrepareCommit and PrepareAbort exist only in memory,
// while that batch is on its way. Three rules make this enough:
//
//   - A partition is in the transaction before anything is appended to it. That write is applied and not waited for: the write-ahead
//     log keeps the order, so the sync that makes the append durable makes it durable, too.
//   - Begin and Done count the appends and offset commits that are under way, and the end is written when there are none. So no batch
//     comes behind the marker of its transaction, and none hangs open for ever.
//   - What a step saves is in memory at once, and in the log before what follows from it; only answers wait for the disk.
//
// # Epochs
//
// EndTxn v5 raises the producer's epoch with every transaction, and the markers carry the new one. A request of the transaction before,
// however late, has the old epoch: it is refused by the coordinator, and by each partition; a repeated EndTxn is recognised by it and
// gets the same answer. Clients of older versions keep their epoch until InitProducerId.
//
// The format of what is stored is in package catalog.
package txn
