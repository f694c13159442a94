package client

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
)

// nameBytesMax bounds a replica's name, as Kafka bounds a topic's.
const nameBytesMax = 249

// newName makes a name that no other replica has.
func newName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "replica"
	}
	var chance [6]byte
	_, _ = rand.Read(chance[:]) // it never fails
	return fmt.Sprintf("%.200s-%d-%s", host, os.Getpid(), hex.EncodeToString(chance[:]))
}
