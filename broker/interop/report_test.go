package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// taken is what a driver's output amounts to.
func taken(lines ...string) report {
	r := report{Client: "c", Title: "C"}
	for _, line := range lines {
		r.take(line)
	}
	return r
}

func TestWhatADriverDoesNotSayIsAFailure(t *testing.T) {
	r := taken("noise", "interop\tversion\tinfo\t0\tv1", "interop\tproduce\tpass\t12\t", "interop\tstatic\tskip\t1\tno static members").
		failed([]string{"produce", "static", "groups"}, "the driver ended")
	require.Equal(t, "v1", r.Version)
	require.Equal(t, []result{{"produce", "pass", 12, ""}, {"static", "skip", 1, "no static members"}, {"groups", "fail", 0, "the driver ended"}}, r.Results)
	passed, failed, skipped, missing := count([]report{r, {Client: "d", Missing: "not installed"}})
	require.Equal(t, []int{1, 1, 1, 1}, []int{passed, failed, skipped, missing})
}

func TestALineThatMeansNothingIsAFailure(t *testing.T) {
	for _, line := range []string{"interop\tproduce\tpassed\t12\t", "interop\tproduce\tpass\tfast\t"} {
		require.Equal(t, "fail", taken(line).Results[0].Result, line)
	}
}

func TestAClientThatIsRequiredHasToBeThere(t *testing.T) {
	var out bytes.Buffer
	reports := []report{{Client: "kcat", Missing: "not installed"}, taken("interop\tproduce\tpass\t1\t")}
	require.True(t, required(&out, "", reports))
	require.True(t, required(&out, "c", reports))
	require.False(t, required(&out, "c,kcat", reports))
	require.False(t, required(&out, "all", reports))
}

func TestTheTableStandsBetweenItsMarks(t *testing.T) {
	reports := []report{taken("interop\tproduce\tpass\t1\t", "interop\tadmin\tfail\t1\tbroken"), {Client: "absent", Missing: "not installed"}}
	text, err := insert("before\n"+beginMark+"what stood here\n"+endMark+"after\n", markdown(reports))
	require.NoError(t, err)
	require.Regexp(t, `(?s)^before\n<!--.*\| C \| ✓ \|.*✗.*1 of 2 clients were not installed.*-->\nafter\n$`, text)
	require.NotContains(t, text, "what stood here")
	_, err = insert("no marks", "text")
	require.Error(t, err)
}

// What is asked for capabilities of its own has no line in the table of the clients, also where it is not installed.
func TestToolsAreNoClients(t *testing.T) {
	chosen, err := choose("tools,kcat", "")
	require.NoError(t, err)
	var reports []report
	for _, d := range chosen {
		r := d.report()
		r.Missing = "not installed: no java on this machine"
		reports = append(reports, r)
	}
	var out bytes.Buffer
	printTable(&out, reports)
	require.Regexp(t, `(?m)^kcat +n/a`, out.String())
	require.NotRegexp(t, `(?m)^tools +n/a`, out.String())
	require.Contains(t, out.String(), "SKIPPED LOUDLY: tools was not run: not installed: no java")
}

func TestEveryDriverHasItsCapabilitiesDescribed(t *testing.T) {
	described := map[string]bool{}
	for _, c := range capabilities() {
		described[c.name] = true
		require.NotEmpty(t, c.meaning)
	}
	for _, d := range drivers() {
		for _, c := range d.capabilities {
			require.True(t, described[c], "%s of %s stands not in capabilities.txt", c, d.name)
		}
	}
	_, err := choose("nobody", "")
	require.Error(t, err)
	_, err = choose("", "nothing")
	require.Error(t, err)
	_, err = choose("kcat", "ktable")
	require.Error(t, err)
	chosen, err := choose("kcat,franz-go", "")
	require.NoError(t, err)
	require.Len(t, chosen, 2)
}

// What a user of the Go library gets with it must not grow by a client.
func TestTheClientsStandInModulesOfTheirOwn(t *testing.T) {
	text, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	for _, module := range []string{"sarama", "confluent", "segmentio"} {
		require.NotContains(t, string(text), module)
	}
	for _, file := range []string{"golang/go.mod", "golang/go.sum", "node/package-lock.json", "java/pom.xml"} {
		require.FileExists(t, file)
	}
}
