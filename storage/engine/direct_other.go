//go:build !linux

package engine

import "errors"

// setDirect has no way past the page cache here that could be switched.
func setDirect(uintptr, bool) error { return errors.ErrUnsupported }
