package main

import (
	_ "embed"
	"strings"
)

// capability is a row of capabilities.txt.
type capability struct{ name, title, meaning string }

//go:embed capabilities.txt
var capabilitiesText string

func capabilities() []capability {
	var all []capability
	for line := range strings.Lines(capabilitiesText) {
		if fields := strings.Split(strings.TrimSpace(line), "\t"); len(fields) == 3 && !strings.HasPrefix(line, "#") {
			all = append(all, capability{fields[0], fields[1], fields[2]})
		}
	}
	return all
}

// ofClients are the capabilities that every client is asked for; the others belong to one driver each.
var ofClients = []string{"produce", "consume", "codecs", "headers", "groups", "rebalance", "static", "groups848", "idempotence", "transactions",
	"admin", "bootstrap", "log-start", "folds", "stale"}
