package child

import "strconv"

// Broker is a broker in a process of its own, which first says where it listens.
type Broker struct {
	*Process
	Addrs []string
}

// StartBroker starts this program with a command that serves a broker, whose topics
// have so many partitions.
func StartBroker(command string, partitions int) (*Broker, error) {
	p, err := StartSelf(BrokerCore, command, strconv.Itoa(partitions))
	if err != nil {
		return nil, err
	}
	b := &Broker{Process: p}
	return b, b.Read(&b.Addrs)
}
