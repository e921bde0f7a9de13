package cluster

import (
	"crypto/sha256"
	"crypto/sha512"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// scram256 and scram512 make the hashes of the two mechanisms (KIP-84).
var (
	scram256 scram.HashGeneratorFcn = sha256.New
	scram512 scram.HashGeneratorFcn = sha512.New
)

// scramConversation is one login (RFC 5802).
type scramConversation struct {
	hash scram.HashGeneratorFcn
	*scram.ClientConversation
}

var _ sarama.SCRAMClient = (*scramConversation)(nil)

func scramClient(mechanism string) func() sarama.SCRAMClient {
	hash := scram256
	if mechanism == sarama.SASLTypeSCRAMSHA512 {
		hash = scram512
	}
	return func() sarama.SCRAMClient { return &scramConversation{hash: hash} }
}

// Begin starts the login. Step and Done are the embedded conversation's.
func (s *scramConversation) Begin(user, password, authzID string) error {
	client, err := s.hash.NewClient(user, password, authzID)
	if err != nil {
		return err
	}
	s.ClientConversation = client.NewConversation()
	return nil
}
