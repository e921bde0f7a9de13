package guard

import "github.com/klamm-io/klamm/sdk/abi"

// WASIModule is the module name of WASI preview 1.
const WASIModule = "wasi_snapshot_preview1"

// Signature letters: i is i32, I is i64, f is f32, F is f64, V is v128.
func sig(params, results string) FuncType {
	return FuncType{Params: decodeSig(params), Results: decodeSig(results)}
}

func decodeSig(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = byte(map[byte]ValueType{'i': I32, 'I': I64, 'f': F32, 'F': F64, 'V': V128}[c])
	}
	return string(b)
}

// HostFunctions are the functions that a plugin may import, by module and name,
// with their types. Do not change it.
var HostFunctions = map[string]map[string]FuncType{
	abi.ImportModule: {
		abi.ImportLog:           sig("iii", ""),
		abi.ImportMetricDef:     sig("iii", "i"),
		abi.ImportReasonDef:     sig("iii", ""),
		abi.ImportMetricAdd:     sig("iI", ""),
		abi.ImportMetricObserve: sig("iF", ""),
		abi.ImportClaim:         sig("iiiI", "i"),
		abi.ImportClaimBatch:    sig("iI", "i"),
		abi.ImportStateGet:      sig("iiii", "i"),
		abi.ImportStatePut:      sig("iiiiI", "i"),
		abi.ImportNowNS:         sig("", "I"),
		abi.ImportRandom:        sig("ii", ""),
		abi.ImportHMAC:          sig("iiiii", "i"),
		abi.ImportValue:         sig("iii", "i"),
		abi.ImportHeaders:       sig("iii", "i"),
	},
	WASIModule: {
		"args_get":                sig("ii", "i"),
		"args_sizes_get":          sig("ii", "i"),
		"clock_res_get":           sig("ii", "i"),
		"clock_time_get":          sig("iIi", "i"),
		"environ_get":             sig("ii", "i"),
		"environ_sizes_get":       sig("ii", "i"),
		"fd_advise":               sig("iIIi", "i"),
		"fd_allocate":             sig("iII", "i"),
		"fd_close":                sig("i", "i"),
		"fd_datasync":             sig("i", "i"),
		"fd_fdstat_get":           sig("ii", "i"),
		"fd_fdstat_set_flags":     sig("ii", "i"),
		"fd_fdstat_set_rights":    sig("iII", "i"),
		"fd_filestat_get":         sig("ii", "i"),
		"fd_filestat_set_size":    sig("iI", "i"),
		"fd_filestat_set_times":   sig("iIIi", "i"),
		"fd_pread":                sig("iiiIi", "i"),
		"fd_prestat_dir_name":     sig("iii", "i"),
		"fd_prestat_get":          sig("ii", "i"),
		"fd_pwrite":               sig("iiiIi", "i"),
		"fd_read":                 sig("iiii", "i"),
		"fd_readdir":              sig("iiiIi", "i"),
		"fd_renumber":             sig("ii", "i"),
		"fd_seek":                 sig("iIii", "i"),
		"fd_sync":                 sig("i", "i"),
		"fd_tell":                 sig("ii", "i"),
		"fd_write":                sig("iiii", "i"),
		"path_create_directory":   sig("iii", "i"),
		"path_filestat_get":       sig("iiiii", "i"),
		"path_filestat_set_times": sig("iiiiIIi", "i"),
		"path_link":               sig("iiiiiii", "i"),
		"path_open":               sig("iiiiiIIii", "i"),
		"path_readlink":           sig("iiiiii", "i"),
		"path_remove_directory":   sig("iii", "i"),
		"path_rename":             sig("iiiiii", "i"),
		"path_symlink":            sig("iiiii", "i"),
		"path_unlink_file":        sig("iii", "i"),
		"poll_oneoff":             sig("iiii", "i"),
		"proc_exit":               sig("i", ""),
		"proc_raise":              sig("i", "i"),
		"random_get":              sig("ii", "i"),
		"sched_yield":             sig("", "i"),
		"sock_accept":             sig("iii", "i"),
		"sock_recv":               sig("iiiiii", "i"),
		"sock_send":               sig("iiiii", "i"),
		"sock_shutdown":           sig("ii", "i"),
	},
}

// exportTypes are the types of the exports that the host may call.
var exportTypes = map[string]FuncType{
	abi.ExportInitialize: sig("", ""),
	abi.ExportAlloc:      sig("i", "i"),
	abi.ExportInit:       sig("ii", "I"),
	abi.ExportOnSend:     sig("ii", "I"),
	abi.ExportOnAck:      sig("ii", "I"),
	abi.ExportOnConsume:  sig("ii", "I"),
	abi.ExportOnCommit:   sig("ii", "I"),
	abi.ExportPartition:  sig("ii", "I"),
	abi.ExportClose:      sig("", ""),
	abi.ExportMarker:     sig("", ""),
}

// demanded are the exports that no plugin can do without, memory and marker
// apart.
var demanded = []string{abi.ExportAlloc, abi.ExportInit}
