package saramaplugin

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/klamm-io/klamm"
)

// certain are the brokers' answers that any earlier attempt of the same message
// would have got too, so that it is not in the log.
var certain = map[sarama.KError]bool{
	sarama.ErrMessageSizeTooLarge:                true,
	sarama.ErrInvalidTopic:                       true,
	sarama.ErrMessageSetSizeTooLarge:             true,
	sarama.ErrInvalidRequiredAcks:                true,
	sarama.ErrTopicAuthorizationFailed:           true,
	sarama.ErrClusterAuthorizationFailed:         true,
	sarama.ErrInvalidTimestamp:                   true,
	sarama.ErrUnsupportedForMessageFormat:        true,
	sarama.ErrPolicyViolation:                    true,
	sarama.ErrTransactionalIDAuthorizationFailed: true,
	sarama.ErrInvalidRecord:                      true,
}

// outcomeError is a sarama error as plugins and claims see it. sarama does not
// tell whether an earlier attempt of a message may have been written, only why
// the last one failed: what is not certain is klamm.ErrOutcomeUnknown.
func outcomeError(err error) error {
	var code sarama.KError
	var config sarama.ConfigurationError
	var encoding sarama.PacketEncodingError
	var plugin *klamm.PluginError
	switch {
	case errors.As(err, &code) && certain[code]:
		return fmt.Errorf("%w: %w", &klamm.BrokerError{Code: klamm.Code(code)}, err)
	case errors.As(err, &config), errors.As(err, &encoding), errors.As(err, &plugin),
		errors.Is(err, klamm.ErrInvalidPartition), errors.Is(err, sarama.ErrInvalidPartition),
		errors.Is(err, sarama.ErrTransactionNotReady):
		return err
	case errors.Is(err, sarama.ErrShuttingDown):
		return fmt.Errorf("%w, %w: %w", klamm.ErrClosed, klamm.ErrOutcomeUnknown, err)
	}
	return fmt.Errorf("%w: %w", klamm.ErrOutcomeUnknown, err)
}
