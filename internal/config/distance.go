package config

import "strings"

// nearest returns the candidate that s is most likely a slip of, or "" when
// none is near. Ties go to the candidate that comes first.
func nearest(s string, candidates []string) string {
	if all := nearestAll(s, candidates); len(all) > 0 {
		return all[0]
	}
	return ""
}

// nearestAll returns all candidates that are equally near.
func nearestAll(s string, candidates []string) (all []string) {
	best, lower := max(1, len(s)/3), strings.ToLower(s)
	for _, c := range candidates {
		if strings.EqualFold(s, c) {
			return []string{c}
		}
		if len(lower)-len(c) > 4*best || len(c)-len(lower) > 4*best {
			continue // a letter has at most four bytes
		}
		switch d := distance(lower, strings.ToLower(c)); {
		case d < best:
			best, all = d, []string{c}
		case d == best:
			all = append(all, c)
		}
	}
	return all
}

// distance is the optimal string alignment distance of a and b: how many
// letters must be inserted, removed, changed or swapped with their neighbour.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	if len(s) > 128 || len(t) > 128 {
		return max(len(s), len(t)) // no key is that long
	}
	before, last, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(t)]
}
