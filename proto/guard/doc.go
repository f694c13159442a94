// Package guard walks an untrusted request before anything decodes it.
//
// kmsg trusts what it reads: a body of nine bytes can name four billion tags and keep a processor busy for half a minute, and an
// array length can make it allocate far more than the frame holds. Scan follows the layout of the request's version over the bytes,
// without allocating, and refuses lengths and counts that the bytes left cannot hold, and arrays that would decode to more than eight
// times the body plus 64 KiB, or that have more than ElementsMax elements in all.
//
//	h, body, err := guard.ParseHeader(frame)
//	err = guard.Scan(h.Key, h.Version, body)
//
// The layouts stand as data in the schema files, one table of the requests that the broker serves: Supported is what ApiVersions
// answers from. Bytes after the last field are ignored, as Kafka does.
package guard
