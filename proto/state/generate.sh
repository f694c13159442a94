#!/bin/sh
# Generates state.pb.go and stateconnect/state.connect.go from keyframe/state/v1/state.proto. Needs Go alone.
set -eu
cd "$(dirname "$0")/gen"
plugins=$(mktemp -d)
trap 'rm -rf "$plugins"' EXIT INT TERM
go build -o "$plugins/" google.golang.org/protobuf/cmd/protoc-gen-go connectrpc.com/connect/cmd/protoc-gen-connect-go
go run . -plugins "$plugins" -out ..
