// Package suggest finds the name that was probably meant.
//
//	suggest.Nearest("keyframe.flod", names) // "keyframe.fold"
package suggest

import "strings"

// lenMax bounds the names that are compared, and so the work: the product of two lengths.
const lenMax = 249

// Nearest returns the known name that is closest to name, case apart, and no more edits away than a third of its length, or two; "" if
// there is none.
func Nearest(name string, known []string) string {
	if len(name) > lenMax {
		return ""
	}
	name = strings.ToLower(name)
	best, bestDistance := "", lenMax
	for _, k := range known {
		if d := distance(name, strings.ToLower(k)); d < bestDistance && d <= max(2, len(k)/3) {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
