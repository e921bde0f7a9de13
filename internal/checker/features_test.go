package checker

import (
	"strings"
	"testing"
)

// Whatever goes wrong, the error says what was tried, and of which brokers.
func TestAgreeOnTransactionsErrors(t *testing.T) {
	err := AgreeOnTransactions(t.Context(), []string{"nowhere:port"}, 2)
	if err == nil || !strings.Contains(err.Error(), `have brokers ["nowhere:port"] agree on version 2 of transactions`) {
		t.Errorf("error %v", err)
	}
}
