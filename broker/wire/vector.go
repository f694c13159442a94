//go:build !race

package wire

import "net"

// writeVector sends buffers with as few system calls as may be (writev), and changes them.
func writeVector(nc net.Conn, buffers [][]byte) (int64, error) {
	if len(buffers) == 1 {
		n, err := nc.Write(buffers[0])
		return int64(n), err
	}
	v := net.Buffers(buffers)
	return v.WriteTo(nc)
}
