package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

var words = map[string]string{"pass": "pass", "fail": "FAIL", "skip": "-"}

// printTable writes the matrix of the clients, what the others said, and every reason.
func printTable(out io.Writer, reports []report) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "client\t"+strings.Join(ofClients, "\t")+"\tseconds")
	for _, r := range reports {
		if r.own {
			continue
		}
		fmt.Fprint(t, r.Client)
		for _, c := range ofClients {
			fmt.Fprint(t, "\t"+cell(r, c))
		}
		fmt.Fprintf(t, "\t%.1f\n", r.Seconds)
	}
	_ = t.Flush()
	fmt.Fprintln(out)
	for _, r := range reports {
		for _, one := range r.Results {
			if r.own || one.Reason != "" {
				fmt.Fprintf(out, "%-16s %-18s %-4s %7.1f s  %s\n", r.Client, one.Capability, words[one.Result], float64(one.Millis)/1000, one.Reason)
			}
		}
		if r.own && r.Missing == "" {
			fmt.Fprintf(out, "%-16s %.1f s in all\n", r.Client, r.Seconds)
		}
	}
	for _, r := range reports {
		if r.Missing != "" {
			fmt.Fprintf(out, "SKIPPED LOUDLY: %s was not run: %s\n", r.Client, r.Missing)
		}
	}
}

func cell(r report, capability string) string {
	if r.Missing != "" {
		return "n/a"
	}
	if one := r.of(capability); one != nil {
		return words[one.Result]
	}
	return ""
}

// markdown is the README's form of the matrix.
func markdown(reports []report) string {
	var b strings.Builder
	titles := map[string]string{}
	for _, c := range capabilities() {
		titles[c.name] = c.title
	}
	b.WriteString("| |")
	for _, c := range ofClients {
		b.WriteString(" " + titles[c] + " |")
	}
	b.WriteString("\n|" + strings.Repeat(" --- |", len(ofClients)+1) + "\n")
	for _, r := range reports {
		if r.Missing == "" && !r.own {
			b.WriteString("| " + heading(r) + " |")
			for _, c := range ofClients {
				b.WriteString(" " + marks[cell(r, c)] + " |")
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n| | |\n| --- | --- |\n")
	for _, r := range reports {
		if r.Missing == "" && r.own {
			var parts []string
			for _, one := range r.Results {
				parts = append(parts, strings.TrimPrefix(titles[one.Capability], "Streams: ")+" "+marks[words[one.Result]])
			}
			b.WriteString("| " + heading(r) + " | " + strings.ReplaceAll(strings.Join(parts, ", "), "Connect: ", "") + " |\n")
		}
	}
	passed, failed, skipped, missing := count(reports)
	fmt.Fprintf(&b, "\n✓ passed (%d), ✗ failed (%d), – the client does not have it (%d)", passed, failed, skipped)
	if missing > 0 {
		fmt.Fprintf(&b, "; %d of %d clients were not installed", missing, len(reports))
	}
	b.WriteString(".\n")
	return b.String()
}

var marks = map[string]string{"pass": "✓", "FAIL": "✗", "-": "–", "": ""}

func heading(r report) string {
	if r.Version == "" {
		return r.Title
	}
	return r.Title + " " + r.Version
}

const (
	beginMark = "<!-- make interop README=1: begin -->\n"
	endMark   = "<!-- make interop README=1: end -->\n"
)

// insert puts text between the marks.
func insert(readme, text string) (string, error) {
	before, rest, ok := strings.Cut(readme, beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return "", fmt.Errorf("no line %q and, after it, %q", strings.TrimSpace(beginMark), strings.TrimSpace(endMark))
	}
	return before + beginMark + text + endMark + after, nil
}
