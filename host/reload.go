package host

import (
	"context"
	"maps"
	"slices"
)

// Reload reads every plugin's module anew. A changed one is loaded aside and
// swapped in between two batches; when it is bad, the running generation stays
// and the result says why. Records are never without a plugin, and each is
// judged by exactly one generation.
func (h *Host) Reload(ctx context.Context) []ReloadResult {
	results := make([]ReloadResult, 0, len(h.plugins))
	for _, name := range slices.Sorted(maps.Keys(h.plugins)) {
		results = append(results, h.plugins[name].reload(ctx, h))
	}
	return results
}
