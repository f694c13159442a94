package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/report"
	"github.com/keyframelog/keyframe/bench/result"
)

func measured(name, durability string, mbps float64) *result.Result {
	r := result.New("produce", map[string]any{"partitions": 8})
	r.Add("throughput", mbps, "MB/s", result.Higher)
	s := result.Series{Name: "acknowledged", XUnit: "s", YUnit: "MB/s"}
	h := result.NewHistogram()
	random := rand.New(rand.NewPCG(1, uint64(mbps)))
	for i := range 30 {
		s.X, s.Y = append(s.X, float64(i)), append(s.Y, mbps+10*random.NormFloat64())
	}
	for range 10_000 {
		h.Record(time.Duration(1e6 * (1 + random.ExpFloat64())))
	}
	r.Series = append(r.Series, s)
	r.Latencies(h.Latency("acknowledged"))
	return r.End(result.Target{Name: name, Software: name + " <b>1.0", Durability: durability})
}

func comparison() *compare.Comparison {
	pairs := []compare.Pair{
		{A: measured("keyframe", "fsync", 300), B: measured("kafka", "page cache", 200)},
		{A: measured("keyframe", "fsync", 330), B: measured("kafka", "page cache", 220)},
	}
	return compare.Of(pairs)
}

// The page needs nothing beside itself, says the answer first, and has everything that was measured in it.
func TestThePageStandsAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "report")
	require.NoError(t, report.Write(dir, report.Data{Comparisons: []*compare.Comparison{comparison()}, Results: []*result.Result{measured("keyframe", "fsync", 300)}}))
	data, err := os.ReadFile(filepath.Join(dir, "index.html"))
	require.NoError(t, err)
	html := string(data)
	for _, outside := range []string{"<script", "<link", "src=", "url(", "@import"} {
		require.False(t, strings.Contains(html, outside), outside)
	}
	require.True(t, strings.Contains(html, "1.50x"))
	require.Less(t, strings.Index(html, "1.50x"), strings.Index(html, "<svg"), "the answer comes first")
	require.True(t, strings.Contains(html, "unlike durability: keyframe: fsync; kafka: page cache"))
	require.True(t, strings.Contains(html, "keyframe &lt;b&gt;1.0"), "texts are not markup")

	var back report.Data
	raw, err := os.ReadFile(filepath.Join(dir, "data.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Len(t, back.Comparisons[0].Pairs, 2)
	require.Equal(t, comparison().Figures[0].Ratio, back.Comparisons[0].Figures[0].Ratio)
}

func TestPlotsArePicturesOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, report.Write(dir, report.Data{Comparisons: []*compare.Comparison{comparison()}}))
	plots, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	require.NoError(t, err)
	require.Len(t, plots, 2, "throughput over time, and percentiles")
	for _, name := range plots {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Contains(t, string(data), "keyframe", "the legend names the sides")
		require.Contains(t, string(data), "kafka")
		for d := xml.NewDecoder(strings.NewReader(string(data))); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else {
				require.NoError(t, err, name)
			}
		}
	}
}

// Series of one plot share it and are told apart; steps of what there is more and more of stand as far apart as they are times each other, and
// are named.
func TestStepsAndSharedPlots(t *testing.T) {
	steps := func(name string, factor float64) *result.Result {
		r := result.New("bootstrap", nil)
		r.Add("bootstrap", 1, "s", result.Lower)
		x := []float64{10_000, 100_000, 1_000_000}
		r.Series = []result.Series{
			{Name: "bootstrap time against history length", X: x, Y: []float64{1, 10 * factor, 100 * factor}, XUnit: "updates", YUnit: "s"},
			{Name: "repair", Plot: "cost against state size", X: x, Y: []float64{1, 1, 1}, XUnit: "keys", YUnit: "times the first step"},
			{Name: "detected", Plot: "cost against state size", X: x, Y: []float64{1, 2, 3}, XUnit: "keys", YUnit: "times the first step"},
		}
		return r.End(result.Target{Name: name})
	}
	dir := t.TempDir()
	require.NoError(t, report.Write(dir, report.Data{Comparisons: []*compare.Comparison{compare.Of([]compare.Pair{{A: steps("keyframe", 0.1), B: steps("kafka", 1)}})}}))
	plots, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	require.NoError(t, err)
	require.Len(t, plots, 2)
	text := func(part string) string {
		data, err := os.ReadFile(filepath.Join(dir, "c1-bootstrap-"+part+".svg"))
		require.NoError(t, err)
		return string(data)
	}
	history, cost := text("bootstrap-time-against-history-length"), text("cost-against-state-size")
	for _, tick := range []string{">10k<", ">100k<", ">1M<"} {
		require.Contains(t, history, tick)
		require.Contains(t, cost, tick)
	}
	for _, name := range []string{"keyframe: repair", "keyframe: detected", "kafka: repair", "kafka: detected"} {
		require.Contains(t, cost, name)
	}
	require.Contains(t, cost, "stroke-dasharray", "the second of a side is dashed")
	require.NotContains(t, history, "keyframe: ", "a plot of one series is about nothing else")
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234.6: "1,235", 2100000: "2,100,000", -1500: "-1,500"} {
		require.Equal(t, want, report.Quantity(v))
	}
	for v, want := range map[float64]string{0.0123: "0.012", 0.5: "0.50", 1.5: "1.50", 45.67: "45.7", 1234: "1,234"} {
		require.Equal(t, want, report.Ratio(v))
	}
}
