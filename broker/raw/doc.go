// Package raw is the Kafka protocol for tests, one request at a time: what a test sends is what it wrote, in the version that it names, and
// what it reads is what the broker sent. A client library negotiates versions, repeats what fails and hides what it does not know, so a test
// of the protocol cannot be written with one. Requests and answers are kmsg's, batches are built by hand (Record, NewBatch, Seal), so that
// they can be wrong; nothing is taken from our own codecs, which would agree with themselves.
//
//	c := raw.Broker{Addr: "127.0.0.1:9092"}.Dial(t)
//	tp := raw.CreateTopic(c, 1, "retention.ms", "1000") // under a name of its own
//	raw.MustProduce(c, tp, raw.KV("key", "value"))
//	for _, b := range raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches) {
//		...
//	}
//	resp := raw.Do[*kmsg.MetadataResponse](c, &kmsg.MetadataRequest{Version: 9}) // anything else
//
// A name that ends in To, From or Request makes a request, for a test that changes it before it is sent; one that ends in As sends such a
// request and takes its only partition out of the answer. What has neither does both, in a usual version. All of them end the test when the
// connection fails or the answer does not have the shape; error codes are the test's to check, unless the name begins with Must or Require
// or there is no test left without (CreateTopic).
//
// It is imported by tests only, and by those of any broker: nothing in it knows whose broker answers.
package raw
