package config

// Suggest is the name that text was probably meant to be, as the question
// `did you mean "x"?`, or "" when none is near.
func Suggest(text string, names []string) string {
	best, bestDistance := "", len(text)/3+1
	for _, name := range names {
		if d := editDistance(text, name, bestDistance); d <= bestDistance && (best == "" || d < bestDistance) {
			best, bestDistance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + quote(best) + "?"
}

// longestGuess bounds the work of editDistance: nobody misspells longer names.
const longestGuess = 64

// editDistance counts the letters to insert, remove, replace or swap with the
// neighbour to make b of a. Beyond limit it may be any larger number.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit || len(a) > longestGuess || len(b) > longestGuess {
		return limit + 1
	}
	var rows [3][longestGuess + 1]int // the row before the last, the last, this one
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
