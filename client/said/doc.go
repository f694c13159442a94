// Package said keeps the state that a producer has said: its records, folded in the order in which they were handed in, whatever becomes of
// them. A record that is lost on the way, doubled, changed, or that never arrives makes it differ from the log, and so does a record of somebody
// else; digests of the two tell.
//
// It begins as the key frames of all partitions and costs what a replica in memory costs: the rows and about 22 bytes each.
//
//	s := said.New(tables, starts)       // a verified table of each partition (storage/memory), and the log start that each respects
//	word := s.Say(partition, record)    // before the record is given to anybody
//	s.Settle(word, offset, nil)         // once it is known what became of it
//	m := s.Moment()                     // the digests of what has been said by now
//	err := s.Wait(ctx, m)               // until it is known what became of all of it
//	at, ok := s.Position(m, partition)  // where the log stands when it has all of it
//
// # Rows and offsets
//
// Where a record will lie is not known when it is said. The rows carry numbers instead: those of a frame have their offsets, and what is said goes
// on from the cut, one number each, which are the offsets too as long as nothing else takes one. Acknowledgements tell where that changes,
// and since a partition keeps the order, a list of these places (16 bytes each) is enough to know which rows a log start has passed.
//
// # Transactions
//
// Between BeginTransaction and EndTransaction the former row of each key that is touched is kept, and put back if the transaction was aborted.
package said
