package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyframelog/keyframe/proto/suggest"
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

// recordFields and headerFields are the names above, for messages.
func recordFields() []string {
	return []string{"key", "key_base64", "op", "value", "value_base64", "partition", "headers", "offset", "timestamp"}
}

func headerFields() []string { return []string{"key", "value", "value_base64"} }

// parseJSONRecord reads one line. Unknown members are refused: a misspelt one would silently be lost.
func parseJSONRecord(line []byte) (inputRecord, error) {
	var r inputRecord
	if err := json.Unmarshal(line, &r, json.RejectUnknownMembers(true)); err != nil {
		return r, jsonError(err)
	}
	return r, nil
}

// jsonError says what is wrong with a line in the words of the input; the decoder's own speak of Go's types.
func jsonError(err error) error {
	var (
		meaning *json.SemanticError
		syntax  *jsontext.SyntacticError
	)
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("no valid JSON, at byte %d: %w", syntax.ByteOffset+1, syntax.Err)
	case !errors.As(err, &meaning):
		return err
	case errors.Is(meaning.Err, json.ErrUnknownName):
		return unknownField(meaning.JSONPointer)
	case meaning.JSONPointer == "":
		return fmt.Errorf("a line must be one JSON object, as in {\"key\": \"k\", \"value\": \"v\"}, but is %s", found(meaning))
	}
	return fmt.Errorf("field %q must be %s, but is %s", fieldName(meaning.JSONPointer), expectedJSON(meaning.JSONPointer), found(meaning))
}

func unknownField(at jsontext.Pointer) error {
	name, known := at.LastToken(), recordFields()
	if strings.Count(string(at), "/") > 1 {
		known = headerFields()
	}
	if best := suggest.Nearest(name, known); best != "" {
		return fmt.Errorf("unknown field %q: did you mean %q?", name, best)
	}
	return fmt.Errorf("unknown field %q: there are %s", name, strings.Join(known, ", "))
}

// fieldName writes /headers/0/value as headers[0].value.
func fieldName(at jsontext.Pointer) string {
	var name strings.Builder
	for token := range at.Tokens() {
		switch _, err := strconv.Atoi(token); {
		case err == nil:
			fmt.Fprintf(&name, "[%s]", token)
		case name.Len() > 0:
			name.WriteString("." + token)
		default:
			name.WriteString(token)
		}
	}
	return name.String()
}

func expectedJSON(at jsontext.Pointer) string {
	switch at.LastToken() {
	case "partition":
		return "the number of a partition"
	case "offset":
		return "a whole number"
	case "timestamp":
		return "a whole number of milliseconds since 1970"
	case "headers":
		return `a list of {"key", "value"}`
	case "op":
		return "one of the strings " + strings.Join(opNames(), ", ")
	case "key", "value":
		return "a string (JSON inside it is written as a string, quotes escaped) or null"
	case "key_base64", "value_base64":
		return "a string of base64"
	}
	return `an object {"key", "value"}`
}

func found(err *json.SemanticError) string {
	switch err.JSONKind {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"', '0':
		switch {
		case len(err.JSONValue) > 0:
			return fmt.Sprintf("%.60s", err.JSONValue)
		case err.JSONKind == '"':
			return "a string"
		}
		return "a number"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "something else"
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
			return nil, fmt.Errorf("field %q is no base64: %w", name+"_base64", err)
		}
		return b, nil
	}
	return nil, nil
}
