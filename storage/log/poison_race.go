//go:build race

package log

// poison clears chunks as they are given back: under the race detector, whoever still has one is found, by the detector or by what they read.
const poison = true
