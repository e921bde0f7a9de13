package plugin

import (
	"errors"

	"github.com/klamm-io/klamm/sdk/abi"
)

// Error codes of klamm_init and of the hooks.
const (
	codePlugin  uint16 = 1 // the plugin's own function returned an error
	codeBlock   uint16 = 2 // the host's block makes no sense to this SDK
	codeHook    uint16 = 3 // no such hook is registered
	codeRefused uint16 = 4 // the configuration does not grant what was used
	codeConfig  uint16 = 5 // the plugin's table in the configuration is wrong
)

// Init is where an instance finds itself.
type Init struct {
	Plugin   string   // its name in the configuration
	Chain    string   // the chain that it is part of
	ClientID string   // the producer's or consumer's client.id
	Topics   []string // the chain's topics, as configured: names or globs
	Lane     int      // which of Lanes instances this is, from 0
	Lanes    int
}

// initialise reads the init block and runs everything that precedes the first
// call. Each problem is a log line; the code says that there was one.
func initialise(mem []byte) abi.InitResult {
	in, config, err := readInit(mem)
	if err != nil {
		importLog(abi.LogError, []byte(err.Error()))
		return abi.PackInit(0, [abi.HookCount]Fields{}, codeBlock)
	}
	if problems := bind(config); len(problems) > 0 {
		for _, p := range problems {
			importLog(abi.LogError, []byte(p.Error()))
		}
		return abi.PackInit(0, [abi.HookCount]Fields{}, codeConfig)
	}
	if reg.onInit != nil {
		if err := reg.onInit(in); err != nil {
			importLog(abi.LogError, []byte(err.Error()))
			return abi.PackInit(0, [abi.HookCount]Fields{}, codePlugin)
		}
	}
	if declareMetrics != nil {
		declareMetrics()
	}
	if declareReasons != nil {
		declareReasons()
	}
	return abi.PackInit(reg.hooks, reg.fields, 0)
}

var errInit = errors.New("the host's init block is malformed")

// readInit copies everything out of the block, which the next call overwrites.
func readInit(mem []byte) (in *Init, config []byte, err error) {
	if len(mem) < abi.InitHeaderSize {
		return nil, nil, errInit
	}
	part := func(at uint32) []byte {
		off, n := u32(mem, at), u32(mem, at+4)
		if uint64(off)+uint64(n) > uint64(len(mem)) {
			err = errInit
			return nil
		}
		return mem[off : off+n]
	}
	in = &Init{
		Plugin:   string(part(abi.InitPlugin)),
		Chain:    string(part(abi.InitChain)),
		ClientID: string(part(abi.InitClientID)),
		Lane:     int(u32(mem, abi.InitLane)),
		Lanes:    int(u32(mem, abi.InitLanes)),
	}
	config = append(config, part(abi.InitConfig)...)
	for b := part(abi.InitTopics); len(b) >= 4; {
		n := u32(b, 0)
		if uint64(n)+4 > uint64(len(b)) {
			return nil, nil, errInit
		}
		in.Topics = append(in.Topics, string(b[4:4+n]))
		b = b[4+n:]
	}
	return in, config, err
}
