package checker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AgreeOnTransactions has brokers agree on a version of transactions, 1 or 2
// (transaction.version, KIP-890), which may be lower than theirs is.
func AgreeOnTransactions(ctx context.Context, brokers []string, version int16) error {
	if err := agreeOnTransactions(ctx, brokers, version); err != nil {
		return fmt.Errorf("have brokers %q agree on version %d of transactions: %w", brokers, version, err)
	}
	return nil
}

func agreeOnTransactions(ctx context.Context, brokers []string, version int16) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrUpdateFeaturesRequest()
	f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	f.Feature, f.MaxVersionLevel, f.UpgradeType, f.AllowDowngrade = "transaction.version", version, 2, true
	req.FeatureUpdates = append(req.FeatureUpdates, f)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}
