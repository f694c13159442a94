// Package server is a NATS server with JetStream, for itself alone: on a port of loopback that the system chooses, with its files in a directory.
//
//	s, err := server.Start(ctx, os.Args[0], dir, server.SyncDefault) // in a process of its own: this program's serve command
//	defer s.Stop()
//	nc, err := nats.Connect(s.URL)
//
// Beside its directory and how it syncs, everything is as the server comes.
package server

import (
	"errors"
	"fmt"
	"net"
	"time"

	nats "github.com/nats-io/nats-server/v2/server"
)

// Sync is what the server does before it acknowledges.
type Sync string

const (
	SyncDefault Sync = ""       // writes; fsync every two minutes
	SyncAlways  Sync = "always" // fsync of each message
	SyncAsync   Sync = "async"  // takes it into its memory: the stream's persist_mode, with one replica only
)

// Syncs are all of them.
func Syncs() []Sync { return []Sync{SyncDefault, SyncAlways, SyncAsync} }

// Durability is what an acknowledgement means, in words. fsync is said as of other brokers, so that the same is told the same.
func (s Sync) Durability() string {
	switch s {
	case SyncAlways:
		return "fsync before the acknowledgement"
	case SyncAsync:
		return "acknowledged from memory, written and fsynced later"
	}
	return "page cache: acknowledged once written, fsync every 2 minutes"
}

// startMax is how long it may take until it answers.
const startMax = time.Minute

// Embedded is a server in this process.
type Embedded struct {
	URL string
	s   *nats.Server
}

// Serve starts one in this process. Errors: the directory or the port cannot be had.
func Serve(dir string, sync Sync) (*Embedded, error) {
	s, err := nats.NewServer(&nats.Options{Host: "127.0.0.1", Port: nats.RANDOM_PORT, JetStream: true, StoreDir: dir, SyncAlways: sync == SyncAlways, NoSigs: true})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(startMax) {
		s.Shutdown()
		return nil, errors.New("the NATS server does not answer")
	}
	addr, ok := s.Addr().(*net.TCPAddr)
	if !ok || !s.JetStreamEnabled() {
		s.Shutdown()
		return nil, fmt.Errorf("the NATS server has no JetStream in %s", dir)
	}
	return &Embedded{URL: "nats://" + addr.String(), s: s}, nil
}

// Close ends it, and waits for that.
func (e *Embedded) Close() {
	e.s.Shutdown()
	e.s.WaitForShutdown()
}

// Software is what it is, and its version.
func Software() string { return "NATS Server " + nats.VERSION + ", JetStream KV" }
