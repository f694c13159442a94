package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// machineWith has these programs and no other; a program without a script is this machine's own.
func machineWith(t *testing.T, programs map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range programs {
		if script != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
			continue
		}
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(dir, name)))
	}
	t.Setenv("PATH", dir)
}

func prepareAll(t *testing.T, w *workplace, names string) (errs []error) {
	t.Helper()
	chosen, err := choose(names, "")
	require.NoError(t, err)
	for _, d := range chosen {
		_, err := d.prepare(t.Context(), w)
		errs = append(errs, err)
	}
	return errs
}

// What this machine lacks is named, and no failure of the client's.
func TestAClientThatIsNotInstalledIsMissing(t *testing.T) {
	machineWith(t, map[string]string{"go": "", "cc": "exit 0"})
	t.Setenv("CC", "our-own-cc -m64")
	w := &workplace{source: ".", temp: t.TempDir()}
	errs := prepareAll(t, w, "librdkafka,kcat,kafkajs,platformatic,java,tools,streams,connect")
	for i, lacks := range []string{"our-own-cc", "bash", "node", "node", "java", "java", "java", "java"} {
		require.ErrorIs(t, errs[i], errMissing)
		require.ErrorContains(t, errs[i], "no "+lacks+" on this machine")
	}
}

// The drivers in Java are one module: it is fetched once, and where that fails none of them runs with what came of it.
func TestJavaWithoutItsLibrariesIsMissing(t *testing.T) {
	w := &workplace{source: ".", temp: t.TempDir()}
	machineWith(t, map[string]string{"mkdir": "", "java": "exit 0", "javac": "exit 0",
		"mvn": `mkdir -p "` + w.temp + `/java/lib"; echo called >>"` + w.temp + `/calls"; echo no network; exit 1`})
	for _, err := range prepareAll(t, w, "java,tools,streams,connect") {
		require.ErrorIs(t, err, errMissing)
		require.ErrorContains(t, err, "no network")
	}
	calls, err := os.ReadFile(filepath.Join(w.temp, "calls"))
	require.NoError(t, err)
	require.Equal(t, "called\n", string(calls))
}

// Java that does not compile is a failure of each.
func TestJavaThatDoesNotCompileIsAFailure(t *testing.T) {
	machineWith(t, map[string]string{"java": "exit 0", "mvn": "exit 0", "javac": "echo broken; exit 1"})
	for _, err := range prepareAll(t, &workplace{source: ".", temp: t.TempDir()}, "java,tools") {
		require.ErrorContains(t, err, "broken")
		require.NotErrorIs(t, err, errMissing)
	}
}

// The clients of npm are those of the lock file: installed once, and again when it changes.
func TestNodeClientsFollowTheLockFile(t *testing.T) {
	w := &workplace{source: t.TempDir(), temp: t.TempDir()}
	machineWith(t, map[string]string{"mkdir": "", "touch": "", "node": "exit 0", "npm": "mkdir -p node_modules; touch node_modules/.package-lock.json; echo called >>calls"})
	lock, calls := filepath.Join(w.source, "node", "package-lock.json"), filepath.Join(w.source, "node", "calls")
	require.NoError(t, os.Mkdir(filepath.Dir(lock), 0o755))
	age := func(path string, d time.Duration) {
		require.NoError(t, os.Chtimes(path, time.Now().Add(-d), time.Now().Add(-d)))
	}
	prepared := func(times int) {
		for _, err := range prepareAll(t, w, "kafkajs,platformatic") {
			require.NoError(t, err)
		}
		got, err := os.ReadFile(calls)
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("called\n", times), string(got))
	}
	require.NoError(t, os.WriteFile(lock, []byte("{}"), 0o644))
	age(lock, 3*time.Hour)
	prepared(1)
	prepared(1)
	age(filepath.Join(w.source, "node", "node_modules", ".package-lock.json"), 2*time.Hour)
	prepared(1)
	age(lock, time.Hour)
	prepared(2)
}
