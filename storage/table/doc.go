// Package table stores the folded tables of partitions: rows, key frames, digests.
package table
