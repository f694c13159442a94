package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/keyframelog/keyframe"

// Layers point down: cmd -> broker, client, bench -> storage -> proto; client never imports broker. What is for tests is imported by tests.
func TestLayersPointDown(t *testing.T) {
	mayImport := map[string][]string{
		"proto":   {"proto"},
		"storage": {"proto", "storage"},
		"client":  {"proto", "storage", "client"},
		"broker":  {"proto", "storage", "broker"},
		"bench":   {"proto", "storage", "client", "broker", "bench"},
		"cmd":     {"proto", "storage", "client", "broker", "bench", "cmd"},
	}
	seen := map[string]int{}
	for _, p := range listPackages(t) {
		layer := layerOf(p.ImportPath)
		allowed, known := mayImport[layer]
		require.True(t, known, "package %s lies in no layer", p.ImportPath)
		seen[layer]++
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, module) {
				require.True(t, slices.Contains(allowed, layerOf(imported)), "%s must not import %s", p.ImportPath, imported)
			}
			require.NotEqual(t, module+"/broker/raw", imported, "%s imports what is for tests", p.ImportPath)
			if strings.HasPrefix(imported, "github.com/spf13/") {
				require.Equal(t, "cmd", layer, "%s imports %s: flags and settings are read in cmd only", p.ImportPath, imported)
			}
		}
	}
	for layer := range mayImport {
		require.NotZero(t, seen[layer], "no package found in layer %s: is the test looking at the right tree?", layer)
	}
}

// TestReadmeNamesThePackages: a part of the tree that its map does not show is found by nobody. What lies below a package goes with it.
func TestReadmeNamesThePackages(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, layout, ok := strings.Cut(string(readme), "## How the code is laid out")
	require.True(t, ok)
	named := map[string]bool{}
	for line := range strings.Lines(layout) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for i, word := range strings.Split(cells[1], "`") {
				if i%2 == 1 {
					named[word] = true
				}
			}
		}
	}
	found := map[string]bool{}
	for _, p := range listPackages(t) {
		parts := strings.Split(strings.TrimPrefix(p.ImportPath, module+"/"), "/")
		part := strings.Join(parts[:min(2, len(parts))], "/")
		if parts[0] == "bench" {
			part = "bench"
		}
		require.True(t, named[part], "the README's table of the code does not name %s", part)
		found[part], found[strings.Join(parts, "/")] = true, true
	}
	for name := range named {
		require.True(t, found[name], "the README names %s, which is no package", name)
	}
}

type listedPackage struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...")
	out, err := cmd.Output()
	require.NoError(t, err)
	var packages []listedPackage
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listedPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else {
			require.NoError(t, err)
		}
		packages = append(packages, p)
	}
}

func layerOf(importPath string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
	layer, _, _ := strings.Cut(rest, "/")
	return layer
}
