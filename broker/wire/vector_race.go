//go:build race

package wire

import "net"

// writeVector sends buffers one by one: the race detector takes what one goroutine writes and another reads for an order of the two, but not what is written by
// writev.
func writeVector(nc net.Conn, buffers [][]byte) (sent int64, err error) {
	for _, b := range buffers {
		n, err := nc.Write(b)
		if sent += int64(n); err != nil {
			return sent, err
		}
	}
	return sent, nil
}
