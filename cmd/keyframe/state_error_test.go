package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// A state plane that ends a call is no user who interrupts one: the tool says what happened.
func TestCallEndedByTheStatePlane(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(499)
		_, _ = w.Write([]byte(`{"code":"canceled","message":"server is closing"}`))
	}))
	defer s.Close()
	_, err := command(t, "", "state", "get", "a", "k", "--state-url", s.URL)
	require.ErrorContains(t, err, "ended the call: server is closing")
	require.NotErrorIs(t, err, context.Canceled)
}
