package main

import (
	"encoding/base64"
	"fmt"

	"github.com/go-json-experiment/json"
)

// inputRecord is one line of JSON input; key or key_base64 may stand, never both, and the same for the value.
type inputRecord struct {
	Key         *string       `json:"key"`
	KeyBase64   *string       `json:"key_base64"`
	Op          string        `json:"op"`
	Value       *string       `json:"value"`
	ValueBase64 *string       `json:"value_base64"`
	Partition   *int32        `json:"partition"`
	Headers     []inputHeader `json:"headers"`
	Offset      int64         `json:"offset"`    // printed by consume; ignored, so that its output is valid input
	Timestamp   *int64        `json:"timestamp"` // ms since the epoch
}

type inputHeader struct {
	Key         string  `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 *string `json:"value_base64"`
}

// parseJSONRecord reads one line. Unknown members are refused: a misspelt one would silently be lost.
func parseJSONRecord(line []byte) (inputRecord, error) {
	var r inputRecord
	if err := json.Unmarshal(line, &r, json.RejectUnknownMembers(true)); err != nil {
		return r, err
	}
	return r, nil
}

// eitherBytes resolves the pair NAME, NAME_base64; nil if both are absent or null.
func eitherBytes(name string, text, encoded *string) ([]byte, error) {
	switch {
	case text != nil && encoded != nil:
		return nil, fmt.Errorf("%s and %s_base64 are both given", name, name)
	case text != nil:
		return []byte(*text), nil
	case encoded != nil:
		b, err := base64.StdEncoding.DecodeString(*encoded)
		if err != nil {
			return nil, fmt.Errorf("%s_base64: %w", name, err)
		}
		return b, nil
	}
	return nil, nil
}
