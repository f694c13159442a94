// Package wire is the Kafka protocol's transport: connections, frames, request headers, and responses in request order.
// What a request means is the business of a Handler (broker/kafka).
//
//	s := wire.New(wire.Config{Handler: h, Logger: logger})
//	go s.Serve(listener)
//	...
//	s.Close(ctx) // stops accepting, lets answers in work go out, waits for every goroutine
//
// A frame, both ways, big-endian:
//
//	int32   size of what follows
//	int16   API key            \
//	int16   API version         | request header; a response has the correlation id only,
//	int32   correlation id      | and an empty tag section when its version is flexible
//	string  client id           | (never for ApiVersions: its reader may not know the version yet)
//	tags    flexible versions  /
//	...     body
//
// Each connection has two goroutines. The reader reads a frame, checks it before anything decodes it (proto/guard) and
// hands it to the handler; the writer sends the answers in the order of the requests, waiting for those that are not ready
// (Response.Finish). So a producer's requests overlap with the fsync of the ones before, and a fetch that waits for records
// holds the writer, not the reader.
//
// A handler may throttle a request (Request.Throttle): its answer goes out at once, and for that time nothing more is read from the
// connection and no later answer sent (KIP-219). A connection that Config.Admit refuses (KIP-612) is closed when its wait is over, so that its peer does not
// come again at once.
//
// An answer that is not all in memory (Spliced: what a fetch reads from disk) is sent as its parts, each read when it is its turn: a connection holds one
// piece of it, not all. Its length goes out first, so what cannot be read then ends the connection.
//
// What a peer can make the server hold is bounded: the bytes and the number of requests in work per connection, the bytes of the answers
// that are ready before it takes the earlier ones, the bytes of requests of all connections together, and those of frames that have not come whole (the reader stops reading: TCP pushes back), the
// size of a frame, the number of connections, and the time a frame may take to arrive, an answer to be taken and a connection
// to be idle. A frame's buffer, and what it takes of these bounds, grows with the bytes that arrive, not with the size that was
// announced; while half of the room for such frames is free, a connection is also trusted with as much as it has sent whole before.
// While a frame waits for that room, one that holds some of it and stalls is ended, with its connection: the client sends it again.
package wire
